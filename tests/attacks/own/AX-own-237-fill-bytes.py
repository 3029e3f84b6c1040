# ax-id: AX-own-237-fill-bytes
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: tmpfs
# ax-source: the workspace filled with bytes in many files
# ax-escaped: marker
# ax-needs: namespaces
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
block = b'x' * (1 << 20)
total = number = 0
try:
    while total < (DISK_MIB + 128) << 20:
        number += 1
        with open(f'f{number}', 'wb', buffering=0) as file:
            for _ in range(8):
                total += file.write(block)
except OSError as error:
    print(error)
if total > (DISK_MIB + 64) << 20:
    print('AX-ESCAPED MiB', total >> 20)
