# ax-id: AX-own-603-notify-ioctl
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: listener
# ax-source: the listener's ioctls on every descriptor that there is
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
for fd in range(0, 64):
    for request in (0xC0502100, 0xC0182101, 0x40082102, 0x40182103, 0x40082104):
        if call(16, fd, request, ctypes.create_string_buffer(128)) >= 0:
            print('AX-ESCAPED', fd, hex(request))
