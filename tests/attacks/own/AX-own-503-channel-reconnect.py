# ax-id: AX-own-503-channel-reconnect
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: broker
# ax-source: the given channel connected, bound or sent elsewhere
# ax-escaped: tcp-connect, unix-connect, marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
def call(*arguments):
    libc.syscall.restype = ctypes.c_long
    return libc.syscall(*(ctypes.c_long(each) if isinstance(each, int) else each for each in arguments))
import struct
inet = struct.pack('=H', 2) + struct.pack('!H', TCP_PORT) + bytes([127, 0, 0, 1]) + bytes(8)
path = struct.pack('=H', 1) + UNIX_PATH.encode() + b'\0'
name = struct.pack('=H', 1) + b'\0' + ABS_NAME.encode()
for fd in range(3, 32):
    call(42, fd, struct.pack('=H', 0) + bytes(14), 16)
    for address in (inet, path, name):
        for what, result in (
            ('connect', call(42, fd, address, len(address))),
            ('bind', call(49, fd, address, len(address))),
            ('sendto', call(44, fd, b'x', 1, 0x20000000, address, len(address))),
            ('listen', call(50, fd, 1)),
            ('accept', call(288, fd, 0, 0, 0x800)),
        ):
            if result >= 0 and what != 'sendto':
                print('AX-ESCAPED', what, fd)
