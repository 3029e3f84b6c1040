# ax-id: AX-own-234-moved-workspace
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: view
# ax-source: the workspace itself moved, replaced by a link or removed
# ax-escaped: secret, canary
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os, shutil
for attempt in (lambda: os.rename(WORK, WORK + '-moved'), lambda: os.rmdir(WORK), lambda: os.rename(WORK, os.path.dirname(CANARY) + '/canary')):
    try:
        attempt()
        print('AX-INFO it moved')
    except OSError as error:
        print(error)
for target in (os.path.dirname(SECRET_FILE), '/'):
    try:
        os.symlink(target, WORK)
        print('AX-INFO a link stands for it')
    except OSError as error:
        print(error)
for path in (WORK + '/secret', WORK + SECRET_FILE):
    try:
        print(open(path).read())
    except OSError as error:
        print(error)
