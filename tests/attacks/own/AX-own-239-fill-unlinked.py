# ax-id: AX-own-239-fill-unlinked
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: tmpfs
# ax-source: bytes in files that have no name any more
# ax-escaped: marker
# ax-needs: namespaces
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
block = b'x' * (1 << 20)
total, kept = 0, []
try:
    while total < (DISK_MIB + 128) << 20:
        fd = os.open('hidden', os.O_CREAT | os.O_RDWR)
        os.unlink('hidden')
        kept.append(fd)
        for _ in range(64):
            total += os.write(fd, block)
except OSError as error:
    print(error)
if total > (DISK_MIB + 64) << 20:
    print('AX-ESCAPED MiB', total >> 20)
