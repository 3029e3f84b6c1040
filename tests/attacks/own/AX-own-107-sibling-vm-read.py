# ax-id: AX-own-107-sibling-vm-read
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: siblings
# ax-source: process_vm_readv of the neighbour
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
buffer = ctypes.create_string_buffer(8)
local = (ctypes.c_size_t * 2)(ctypes.addressof(buffer), 8)
remote = (ctypes.c_size_t * 2)(id(None), 8)
if call(310, SIBLING_PID, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0) >= 0:
    print('AX-ESCAPED read', buffer.raw)
