# SPDX-License-Identifier: MIT
"""How much CPU a pod may have and has had: by control groups, version 1 or 2; without any, by /proc.

A control group bounds and counts. Without one a pod is counted only, and the report says so.
"""
import contextlib
import os
import pathlib

ROOT = pathlib.Path("/sys/fs/cgroup")
PERIOD_US = 20000  # short, so that a bounded pod stutters little
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def own_groups(text):
    """controller: path of this process's group, from the text of /proc/self/cgroup. Version 2 is named ""."""
    found = {}
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        for controller in controllers.split(","):
            found[controller] = path
    return found


def quota_us(limit_m, period_us=PERIOD_US):
    """The microseconds of each period that make `limit_m` thousandths of a core. The kernel takes 1000 at least."""
    return max(1000, limit_m * period_us // 1000)


def usage_of_stat(text):
    """The seconds of CPU in the text of version 2's cpu.stat."""
    for line in text.splitlines():
        key, value = line.split()
        if key == "usage_usec":
            return int(value) / 1e6
    raise ValueError("no usage_usec in cpu.stat")


def parse_stat(text):
    """(parent, seconds of CPU with those of children that ended) from the text of /proc/PID/stat."""
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), sum(int(field) for field in fields[11:15]) / TICKS_PER_S


def processes():
    """PID: (parent, seconds of CPU), of all processes that can be seen."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError):
                found[int(entry)] = parse_stat(pathlib.Path(f"/proc/{entry}/stat").read_text())
    return found


def family(pid, table):
    """`pid` and all below it, in a table as processes() makes it."""
    members, added = set(), {pid} & table.keys()
    while added:
        members |= added
        added = {child for child, (parent, _) in table.items() if parent in added} - members
    return members


class Tree:
    """Counts by /proc, bounds nothing."""

    def __init__(self):
        self._pid = None
        self._seen_s = 0

    join_files = ()

    def began(self, pid):
        self._pid = pid

    def limit(self, limit_m):
        pass

    def usage_s(self):
        table = processes()
        used_s = sum(table[pid][1] for pid in family(self._pid, table))
        self._seen_s = max(self._seen_s, used_s)  # a process that goes takes its seconds with it for a moment
        return self._seen_s

    def remove(self):
        pass


class GroupV1:
    def __init__(self, folders):
        self._cpu, self._account = folders
        for folder in folders:
            folder.mkdir(exist_ok=True)
        self.join_files = [str(folder / "cgroup.procs") for folder in folders]

    def began(self, pid):
        pass

    def limit(self, limit_m):
        (self._cpu / "cpu.cfs_period_us").write_text(str(PERIOD_US))
        (self._cpu / "cpu.cfs_quota_us").write_text(str(quota_us(limit_m)))

    def usage_s(self):
        return int((self._account / "cpuacct.usage").read_text()) / 1e9

    def remove(self):
        for folder in {self._cpu, self._account}:
            with contextlib.suppress(OSError):
                folder.rmdir()


class GroupV2:
    def __init__(self, folder):
        self._folder = folder
        folder.mkdir()
        self.join_files = [str(folder / "cgroup.procs")]

    def began(self, pid):
        pass

    def limit(self, limit_m):
        (self._folder / "cpu.max").write_text(f"{quota_us(limit_m)} {PERIOD_US}")

    def usage_s(self):
        return usage_of_stat((self._folder / "cpu.stat").read_text())

    def remove(self):
        with contextlib.suppress(OSError):
            self._folder.rmdir()


class Accounts:
    """Makes a group for each pod, as the machine allows. `how` says in words what that is."""

    def __init__(self, name, root=ROOT, own=None):
        self._name = name
        self._root = root
        if own is None:
            own = own_groups(pathlib.Path("/proc/self/cgroup").read_text())
        self._parents = []
        self.version = 0
        for version, attempt in ((1, self._version_1), (2, self._version_2)):
            with contextlib.suppress(OSError, KeyError):
                self._parents = attempt(own)
                self.version = version
                self.how = f"bounded and counted by control groups, version {version}"
                return
        self.how = "not bounded (no control groups here), counted by /proc"

    def _version_1(self, own):
        parents = []
        for controller in ("cpu", "cpuacct"):
            parent = self._root / controller / own[controller].lstrip("/") / self._name
            parent.mkdir(exist_ok=True)
            parents.append(parent)
        if not (parents[0] / "cpu.cfs_quota_us").exists() or not (parents[1] / "cpuacct.usage").exists():
            raise FileNotFoundError("not version 1")
        return parents

    def _version_2(self, own):
        parent = self._root / own[""].lstrip("/") / self._name
        if "cpu" not in (parent.parent / "cgroup.controllers").read_text().split():
            raise FileNotFoundError("no cpu controller")
        with contextlib.suppress(OSError):
            (parent.parent / "cgroup.subtree_control").write_text("+cpu")
        parent.mkdir(exist_ok=True)
        try:
            (parent / "cgroup.subtree_control").write_text("+cpu")
        except OSError:
            parent.rmdir()
            raise
        return [parent]

    def group(self, pod):
        if self.version == 1:
            return GroupV1([parent / pod for parent in self._parents])
        if self.version == 2:
            return GroupV2(self._parents[0] / pod)
        return Tree()

    def remove(self):
        for parent in self._parents:
            with contextlib.suppress(OSError):
                parent.rmdir()
