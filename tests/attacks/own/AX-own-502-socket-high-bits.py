# ax-id: AX-own-502-socket-high-bits
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: broker
# ax-source: a family with bits beyond the 32 that the kernel reads
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
for family in (2, 1, 10, 16, 17):
    for high in (1 << 32, 1 << 63, 0xFFFFFFFF << 32):
        fd = libc.syscall(ctypes.c_long(41), ctypes.c_ulong(family | high), ctypes.c_ulong(1), ctypes.c_ulong(0))
        if fd >= 0:
            print('AX-ESCAPED family', family, hex(high))
