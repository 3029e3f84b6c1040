# ax-id: AX-own-605-close-everything
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: listener
# ax-source: every descriptor closed or replaced, then work as if nothing had happened
# ax-escaped: hang, host-crash
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
call(436, 3, 0xFFFFFFFF, 0)
for fd in range(3, 64):
    try:
        os.dup2(0, fd)
    except OSError:
        pass
os.getpid()
