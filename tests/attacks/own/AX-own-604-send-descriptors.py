# ax-id: AX-own-604-send-descriptors
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: listener
# ax-source: descriptors sent to the supervisor in the channel, again and again
# ax-escaped: descriptors of the host
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
import array, socket, struct
def send(fd, count):
    data = ctypes.create_string_buffer(b'\0\0\0\0')
    vector = (ctypes.c_size_t * 2)(ctypes.addressof(data), 4)
    control = ctypes.create_string_buffer(struct.pack('=QII', 16 + 4 * count, 1, 1) + array.array('i', [0] * count).tobytes() + bytes(8))
    header = struct.pack('=QIxxxxQQQQI', 0, 0, ctypes.addressof(vector), 1, ctypes.addressof(control), len(control) // 8 * 8, 0)
    return call(46, fd, header + bytes(8), 0x40)
for fd in range(3, 16):
    for count in (1, 4, 200):
        print(fd, send(fd, count), ctypes.get_errno())
