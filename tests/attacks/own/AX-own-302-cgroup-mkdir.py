# ax-id: AX-own-302-cgroup-mkdir
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: cgroups
# ax-source: a group of its own, beside or below the given one
# ax-escaped: marker
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os, glob
for top in ['/sys/fs/cgroup', *glob.glob('/sys/fs/cgroup/*'), WORK]:
    try:
        os.mkdir(top + '/ax-own-302')
        if top != WORK:
            print('AX-ESCAPED', top)
            os.rmdir(top + '/ax-own-302')
    except OSError as error:
        print(error)
