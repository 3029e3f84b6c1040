# ax-id: AX-own-232-dotdot
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: view
# ax-source: up from the workspace, and down again
# ax-escaped: secret
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
up = '/'.join(['..'] * 40)
for path in (up + SECRET_FILE, WORK + '/' + up + SECRET_FILE, '/proc/self/root' + SECRET_FILE, '/proc/self/cwd/' + up + SECRET_FILE,
             '/dev/fd/0/..' + SECRET_FILE, '//' + SECRET_FILE, '/usr/lib/../..' + SECRET_FILE):
    try:
        print(open(path).read())
    except OSError as error:
        print(error)
