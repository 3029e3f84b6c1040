# ax-id: AX-own-103-sibling-signal
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: siblings
# ax-source: signals to the neighbour and the zygote by number, natively
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
for pid in (SIBLING_PID, ZYGOTE_PID, os.getppid()):
    for result in (call(62, pid, 0), call(200, pid, 0), call(234, pid, pid, 0), call(129, pid, 0, b'\0' * 128)):
        if result == 0 and pid:
            print('AX-ESCAPED a signal reached', pid)
for pid in (SIBLING_PID, ZYGOTE_PID):
    call(62, pid, 9)
    call(62, pid, 19)
