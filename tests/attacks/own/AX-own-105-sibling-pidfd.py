# ax-id: AX-own-105-sibling-pidfd
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: siblings
# ax-source: pidfd_open and pidfd_getfd on the neighbour
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
for pid in (SIBLING_PID, ZYGOTE_PID, os.getppid()):
    pidfd = call(434, pid, 0)
    if pidfd >= 0 and pid:
        print('AX-ESCAPED pidfd of', pid)
        print('AX-ESCAPED', call(438, pidfd, 0, 0), call(424, pidfd, 9, 0, 0))
