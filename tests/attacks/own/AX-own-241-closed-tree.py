# ax-id: AX-own-241-closed-tree
# ax-layer: L2 (AST layer assumed broken: native Python in the worker)
# ax-class: tmpfs
# ax-source: directories without any right, odd names, pipes and links to the outside, for the host to remove
# ax-escaped: files outside changed
# ax-params: CANARY SECRET_FILE OUT_FILE TCP_PORT UDP_PORT UNIX_PATH ABS_NAME VICTIM_PID HOST_PID WORK SHM_NAME MAX_PROCS MEM_MIB DISK_MIB SIBLING_PID SIBLING_WORK ZYGOTE_PID
import os
for name in ('a\nb', '\x1b[2J', '-rf', '\udcff', 'x' * 255):
    os.mkdir(name)
    os.symlink(os.path.dirname(OUT_FILE), name + '/link')
os.mkdir('closed', 0)
os.makedirs('closed-within/inner')
try:
    os.mkfifo('pipe')
except OSError as error:
    print(error)
os.symlink(OUT_FILE, 'out')
os.symlink(os.path.dirname(OUT_FILE), 'folder')
