"""Makes etcd3 0.12 importable with protobuf 5, 6 and 7. Only :mod:`tasks.etcd.client` and its ``rpc`` modules use it.

etcd3's generated modules are of 2017 and fail with any protobuf since 4. But they carry the serialized descriptions of
all messages; those are taken out of the installed package without running it, and offered under the names of those
modules. The fields that etcd has added since are added to the descriptions (api/etcdserverpb/rpc.proto of etcd 3.6).

Ran clean under ``python -W error`` with protobuf 5.29.6, 6.33.6 and 7.36.2 (grpcio 1.85).
"""

from __future__ import annotations

import ast
import importlib.util
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_LOCK = threading.Lock()
_PACKAGE = "etcd3.etcdrpc"
_FILES = ("kv", "auth", "rpc")  # each after those it needs

_Field = descriptor_pb2.FieldDescriptorProto

#: Message: (field, number, type), all optional and singular unless the name ends in ``*``.
_ADDED: dict[str, tuple[tuple[str, int, Any], ...]] = {
    "Member": (("isLearner", 5, _Field.TYPE_BOOL),),
    "MemberAddRequest": (("isLearner", 2, _Field.TYPE_BOOL),),
    "HashKVResponse": (("hash_revision", 4, _Field.TYPE_INT64),),
    "SnapshotResponse": (("version", 4, _Field.TYPE_STRING),),
    "StatusResponse": (
        ("raftAppliedIndex", 7, _Field.TYPE_UINT64),
        ("errors*", 8, _Field.TYPE_STRING),
        ("dbSizeInUse", 9, _Field.TYPE_INT64),
        ("isLearner", 10, _Field.TYPE_BOOL),
        ("storageVersion", 11, _Field.TYPE_STRING),
        ("dbSizeQuota", 12, _Field.TYPE_INT64),
    ),
}

#: Messages that etcd3 does not have at all, with those of their fields that are used here.
_NEW: dict[str, tuple[tuple[str, int, Any], ...]] = {
    "MemberPromoteRequest": (("ID", 1, _Field.TYPE_UINT64),),
    "MemberPromoteResponse": (),
}


def load_etcd3() -> ModuleType:
    """The etcd3 package, imported.

    Raises:
        ImportError: It is not installed, or is a version that this does not know.
    """
    with _LOCK:
        if f"{_PACKAGE}.rpc_pb2" not in sys.modules:
            _register()
        import etcd3

        return etcd3  # type: ignore[no-any-return]


def _register() -> None:
    spec = importlib.util.find_spec("etcd3")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("etcd3 is not installed")
    folder = Path(spec.submodule_search_locations[0]) / "etcdrpc"
    # A pool of its own: "kv.proto" and "rpc.proto" are names that other packages use in the default one as well.
    pool = descriptor_pool.DescriptorPool()
    modules = []
    for name in _FILES:
        proto = descriptor_pb2.FileDescriptorProto.FromString(_serialized(folder / f"{name}_pb2.py"))
        _add_fields(proto)
        pool.Add(proto)
        modules.append(_module(f"{_PACKAGE}.{name}_pb2", pool.FindFileByName(proto.name)))
    sys.modules.update({module.__name__: module for module in modules})


def _serialized(path: Path) -> bytes:
    """The bytes given as ``serialized_pb`` in a generated module."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "serialized_pb":
            for text in _literals(node.value):
                return text.encode("latin-1") if isinstance(text, str) else text
    raise ImportError(f"{path} is not as protobuf generated it in 2017; etcd3 0.12 is needed")


def _literals(node: ast.expr) -> Iterator[str | bytes]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str | bytes):
            yield inner.value


def _add_fields(proto: descriptor_pb2.FileDescriptorProto) -> None:
    if proto.name == "rpc.proto":
        for name in _NEW:
            proto.message_type.add(name=name)
    for message in proto.message_type:
        for name, number, kind in (_ADDED | _NEW).get(message.name, ()):
            if any(field.number == number for field in message.field):
                continue
            label = _Field.LABEL_REPEATED if name.endswith("*") else _Field.LABEL_OPTIONAL
            message.field.add(name=name.rstrip("*"), number=number, type=kind, label=label)


def _module(name: str, file: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module)["DESCRIPTOR"] = file
    for key, message in file.message_types_by_name.items():
        setattr(module, key, message_factory.GetMessageClass(message))
    for enum in file.enum_types_by_name.values():
        for value in enum.values:
            setattr(module, value.name, value.number)
    return module
