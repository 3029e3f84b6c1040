# ax-id: AX-own-236-names-by-errno
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: metadata
# ax-source: which names exist outside, told by how an open fails
# ax-escaped: marker
# ax-needs: namespaces
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
def failing(path):
    try:
        os.close(os.open(path, os.O_RDONLY))
        return 0
    except OSError as error:
        return error.errno
if failing(SECRET_FILE) != failing(SECRET_FILE + '-that-is-not-there'):
    print('AX-ESCAPED an open tells them apart')
