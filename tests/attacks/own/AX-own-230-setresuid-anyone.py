# ax-id: AX-own-230-setresuid-anyone
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: namespaces
# ax-source: the ids of other workers and of the host
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
own = os.getuid()
for number, arguments in ((117, (0, 0, 0)), (119, (0, 0, 0)), (117, (65534, 65534, 65534)), (113, (own + 1, own + 1)), (122, (0,))):
    call(number, *arguments)
if os.getuid() != own:
    print('AX-ESCAPED is now', os.getuid())
