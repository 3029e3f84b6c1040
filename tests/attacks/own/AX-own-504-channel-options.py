# ax-id: AX-own-504-channel-options
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: broker
# ax-source: options of the channel, and ioctls that find or change network interfaces
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
for fd in range(3, 32):
    for request in (0x8910, 0x8912, 0x8913, 0x8927, 0x89F0, 0x894C, 0x8905):
        if call(16, fd, request, ctypes.create_string_buffer(64)) == 0 and request != 0x8905:
            print('AX-ESCAPED ioctl', hex(request))
    for option in (36, 49, 8, 32, 33):
        if call(54, fd, 1, option, ctypes.byref(ctypes.c_int(1 << 30)), 4) == 0 and option in (36, 32, 33):
            print('AX-ESCAPED option', option)
