# What containers may do that name no profile, whatever their capabilities: nothing to the machine.
profile node-agent-default flags=(attach_disconnected,mediate_deleted) {
  capability,
  network,
  unix,
  file,
  umount,

  # The node ends processes from outside; those of containers see to each other.
  signal (receive) peer=unconfined,
  signal (send, receive) peer=node-agent-default,
  ptrace (trace, read, tracedby, readby) peer=node-agent-default,

  deny mount,

  # Files of the machine in procfs. Those of processes, whose names are numbers, stay as they are.
  deny /proc/* w,
  deny /proc/{acpi,asound,bus,driver,fs,irq,scsi,tty}/** wklx,
  deny /proc/{kcore,kmem,mem,sysrq-trigger} rwklx,

  # Settings of the kernel, but for those of System V IPC (msg*, sem, shm*), which are the pod's own.
  deny /proc/sys/[^k]** wklx,
  deny /proc/sys/kernel/[^ms]** wklx,
  deny /proc/sys/kernel/m[^s]** wklx,
  deny /proc/sys/kernel/ms[^g]** wklx,
  deny /proc/sys/kernel/s[^eh]** wklx,
  deny /proc/sys/kernel/se[^m]** wklx,
  deny /proc/sys/kernel/sh[^m]** wklx,

  # sysfs, but for cgroups: who may write those is for the cgroup namespace to say.
  deny /sys/[^f]** wklx,
  deny /sys/f[^s]** wklx,
  deny /sys/fs/[^c]** wklx,
  deny /sys/fs/c[^g]** wklx,
  deny /sys/firmware/** rwklx,
  deny /sys/kernel/security/** rwklx,
  deny /sys/devices/virtual/powercap/** rwklx,
}
