"""What the Hub holds: repositories, their commits, and the bytes of large files."""

import hashlib
from dataclasses import dataclass, field

TOKEN = "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"
LARGE = (".safetensors", ".onnx")  # what the real one's .gitattributes sends to LFS


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    files: dict[str, bytes]


@dataclass
class Repo:
    """A model repository; the newest commit of each branch is in `branches`."""

    name: str
    private: bool = False
    commits: list[Commit] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)

    def commit(self, changes, title="change", branch="main"):
        """Adds a commit: names to bytes, or to None for a file that goes."""
        files = dict(self.files(branch)) if branch in self.branches else {}
        for name, content in changes.items():
            if content is None:
                files.pop(name, None)
            else:
                files[name] = content
        oid = hashlib.sha1(f"{self.name}{len(self.commits)}".encode()).hexdigest()
        self.commits.append(Commit(oid, title, files))
        self.branches[branch] = oid
        return self.commits[-1]

    def find(self, revision):
        """The commit of a branch or of a commit's own name, or None."""
        oid = self.branches.get(revision, revision)
        return next((c for c in self.commits if c.oid == oid), None)

    def files(self, revision="main"):
        return self.find(revision).files


class Hub:
    """Repositories, one user, and what was asked.

    Attributes:
        faults: the first that matches a request and is not used up has its way with it.
        log: every request as "METHOD /path", in order.
        authorizations: what came in the Authorization header, by host.
        objects: large files that were uploaded, by sha256.
        part_size: bytes of one part of an upload; None uploads in one.
    """

    def __init__(self):
        self.repos, self.faults, self.log = {}, [], []
        self.objects, self.parts, self.authorizations = {}, {}, {}
        self.organizations = ["zoo"]
        self.part_size = None

    def add(self, name, files, **options):
        """A repository with one commit."""
        repo = self.repos[name] = Repo(name, **options)
        repo.commit(files, "first")
        return repo

    def count(self, start):
        """How many requests began like that."""
        return sum(line.startswith(start) for line in self.log)


def is_large(name, content):
    return name.endswith(LARGE) or len(content) > 10_000_000


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def git_blob(content):
    """git's name of a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
