# SPDX-License-Identifier: MIT
"""A strict reader of the text format of Prometheus, version 0.0.4, for stories about GET /metrics. It refuses what the format
forbids, and what it allows but Holdfast does not write: comments, timestamps, samples without a HELP and a TYPE."""
import math
import re

TYPES = ("counter", "gauge", "histogram")
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
SAMPLE = re.compile(r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(?P<labels>.*)\})? (?P<value>\S+)")
LABEL = re.compile(r'(?P<key>[a-zA-Z_][a-zA-Z0-9_]*)="(?P<value>(?:[^"\\]|\\[\\"n])*)"(?P<more>,(?=.)|$)')
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


class Malformed(Exception):
    """The text is not what it must be."""


def require(so, what, line):
    if not so:
        raise Malformed(f"{what}: {line!r}")


def read_labels(text, line):
    """The labels between the braces, as a tuple of pairs in their order."""
    labels = []
    at = 0
    while at < len(text):
        label = LABEL.match(text, at)
        require(label, "not a label", line)
        value = re.sub(r'\\[\\"n]', lambda escape: ESCAPES[escape.group()], label["value"])
        labels.append((label["key"], value))
        at = label.end()
    keys = [key for key, _ in labels]
    require(keys, "empty braces", line)
    require(len(keys) == len(set(keys)), "a label twice", line)
    return tuple(labels)


class Family:
    """NAME, TYPE, and samples: from the sample's name and its labels to its value."""

    def __init__(self, name):
        self.name = name
        self.type = None
        self.samples = {}

    def owns(self, name):
        suffixes = ("_bucket", "_sum", "_count") if self.type == "histogram" else ("",)
        return name in [self.name + suffix for suffix in suffixes]

    def check(self):
        """What holds of a family that is whole."""
        require(self.samples, "a family without samples", self.name)
        require((self.type == "counter") == self.name.endswith("_total"), "only counters are totals", self.name)
        if self.type == "histogram":
            for labels in {self._bare(labels) for _, labels in self.samples}:
                self._check_histogram(labels)

    @staticmethod
    def _bare(labels):
        return tuple(label for label in labels if label[0] != "le")

    def _check_histogram(self, labels):
        buckets = [(dict(own)["le"], value) for (name, own), value in self.samples.items()
                   if name == self.name + "_bucket" and self._bare(own) == labels]
        bounds = [float(bound) for bound, _ in buckets]
        counts = [count for _, count in buckets]
        require(len(bounds) > 1 and bounds == sorted(set(bounds)), "bounds do not grow", (self.name, labels))
        require(buckets[-1][0] == "+Inf" and not math.isinf(bounds[-2]), "no +Inf", (self.name, labels))
        require(counts == sorted(counts), "buckets are not cumulative", (self.name, labels, counts))
        require(self.samples.get((self.name + "_count", labels)) == counts[-1], "+Inf is not the count",
                (self.name, labels))
        require((self.name + "_sum", labels) in self.samples, "no sum", (self.name, labels))


class Exposition:
    """A whole text, read. value(NAME, KEY=VALUE...) is one sample."""

    def __init__(self, body):
        text = body.decode("utf-8")
        require(text.endswith("\n"), "the last line has no end", text[-80:])
        self.families = {}
        self.family = None  # the one that is being read
        for line in text[:-1].split("\n"):
            self._read(line)
        self._end_family()

    def _end_family(self):
        if self.family is not None:
            self.family.check()

    def _read(self, line):
        if line.startswith("# HELP "):
            name, _, text = line[len("# HELP "):].partition(" ")
            require(NAME.fullmatch(name), "not a name", line)
            require(name not in self.families, "a family twice", line)
            require(text and not re.search(r"\\(?![\\n])", text), "not a help", line)
            self._end_family()
            self.family = self.families[name] = Family(name)
        elif line.startswith("# TYPE "):
            name, _, kind = line[len("# TYPE "):].partition(" ")
            require(self.family is not None and name == self.family.name, "a type of another family", line)
            require(self.family.type is None and not self.family.samples, "a type too late", line)
            require(kind in TYPES, "not a type", line)
            self.family.type = kind
        else:
            self._read_sample(line)

    def _read_sample(self, line):
        sample = SAMPLE.fullmatch(line)
        require(sample, "not a sample", line)
        require(self.family is not None and self.family.type is not None, "a sample before its type", line)
        require(self.family.owns(sample["name"]), "a sample of another family", line)
        labels = () if sample["labels"] is None else read_labels(sample["labels"], line)
        require((sample["name"], labels) not in self.family.samples, "a sample twice", line)
        require(NUMBER.fullmatch(sample["value"]), "not a number", line)
        whole = self.family.type == "counter" or sample["name"].endswith(("_bucket", "_count"))
        require(not whole or sample["value"].isdigit(), "a count that is not whole", line)
        self.family.samples[sample["name"], labels] = float(sample["value"])

    def value(self, name, **labels):
        family = next(family for family in self.families.values() if family.owns(name))
        found = [value for (own, pairs), value in family.samples.items()
                 if own == name and dict(pairs) == labels]
        require(len(found) == 1, "not one sample", (name, labels))
        return found[0]

    def values(self, name, label, **labels):
        """The values of one family with LABELS, by the value of one more LABEL."""
        family = next(family for family in self.families.values() if family.owns(name))
        return {dict(pairs)[label]: value for (own, pairs), value in family.samples.items()
                if own == name and {key: of for key, of in pairs if key != label} == labels}

    def counts(self):
        """All that may only grow, by name and labels."""
        return {key: value for family in self.families.values() if family.type != "gauge"
                for key, value in family.samples.items()}
