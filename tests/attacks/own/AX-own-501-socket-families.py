# ax-id: AX-own-501-socket-families
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: broker
# ax-source: every family and type by a raw system call
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
for family in range(0, 46):
    for kind in (1, 2, 3, 4, 5, 6, 10):
        for flags in (0, 0x80000 | 0x800):
            fd = call(41, family, kind | flags, 0)
            if fd >= 0:
                print('AX-ESCAPED family', family, 'type', kind)
                os.close(fd)
