"""A model out of a person's own code, as `-m package.module:factory` names it.

The one place that runs code which this package does not hold, and only what a person has typed on
the command line: no release, config or Hub repository can name any.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from cfamc_zoo.errors import ModelError, UnknownNameError, UsageError, first_line
from cfamc_zoo.zoo.catalogue.resolve import CODE
from cfamc_zoo.zoo.network.classifier import Classifier
from cfamc_zoo.zoo.network.encoder import Encoder
from cfamc_zoo.zoo.network.wrapping import refuse_classifier, wrap_module
from cfamc_zoo.zoo.release.own import OwnModel, own_model


def open_own(text: str) -> OwnModel:
    """Imports a module from the working folder or the environment, and asks it for a model.

    Args:
        text: "package.module:factory": a callable without arguments, or a torch module itself.
            What it gives is an encoder (of `cfamc_zoo.wrap` or `load`), or a module in which
            `size` says the pixels a side of its input; with `classes` too, the names of its
            logits or how many they are, it is a classifier.

    Raises:
        UsageError: no such module or name, not callable, no torch module, no `size` in it, or a
            network of timm's or torchvision's with its classifier on and no `classes`.
        ModelError: the code raises, or the module is not what it says.
    """
    found = CODE.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is not package.module:factory, such as nets:build")
    module, name = found.groups()
    made = _made(_named(_imported(module), module, name), text)
    if isinstance(made, Encoder):
        return own_model(text, made.eval())
    if isinstance(made, Classifier):
        raise UsageError(
            f"{text} gives a classifier of this package; give its release's name, or with --probe "
            "the file of its head"
        )
    return _of_plain(text, made)


def _of_plain(text: str, made: nn.Module) -> OwnModel:
    """A module of which only its attributes say what it is."""
    size, classes = getattr(made, "size", None), getattr(made, "classes", None)
    if type(size) is not int:
        raise UsageError(
            f"{text} gives {type(made).__name__} without a size; set module.size = 224, pixels a "
            "side of its input, and of a classifier module.classes, or return "
            "cfamc_zoo.wrap(module, size=224)"
        )
    if classes is None:
        refuse_classifier(made)
    encoder = wrap_module(Encoder, made, size=size)
    if classes is None:
        return own_model(text, encoder)
    counted = type(classes) is int
    if not counted and not isinstance(classes, list | tuple):
        raise UsageError(f"classes of {text} is {classes!r}; give a list of names, or how many")
    width = encoder.architecture.dimension("backbone")
    count = classes if counted else len(classes)
    if count != width:
        raise ModelError(f"{text} says {count} classes and returns {width} logits; mend one")
    return own_model(text, encoder, classes if counted else tuple(map(str, classes)))


def _imported(module: str) -> ModuleType:
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)  # for good: its code may import more when it is called
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name and f"{module}.".startswith(f"{error.name}."):
            raise UsageError(
                f"there is no module {error.name!r} in {folder!r} or among what is installed; go "
                f"to the folder that holds {Path(*error.name.split('.')[:1])}.py"
            ) from error
        raise _failed(f"importing {module}", error) from error
    except (Exception, SystemExit) as error:  # anybody's code
        raise _failed(f"importing {module}", error) from error


def _named(module: ModuleType, name: str, attribute: str) -> Any:
    if not hasattr(module, attribute):
        public = [known for known in vars(module) if not known.startswith("_")]
        raise UnknownNameError(f"name in {name}", attribute, public)
    return getattr(module, attribute)


def _made(factory: Any, text: str) -> nn.Module:
    if isinstance(factory, nn.Module):
        return factory
    if not callable(factory):
        kind = type(factory).__name__
        raise UsageError(
            f"{text} is of type {kind}, which cannot be called; name a function without arguments "
            "that returns a torch.nn.Module"
        )
    try:
        made = factory()
    except (Exception, SystemExit) as error:  # anybody's code
        raise _failed(f"{text}()", error) from error
    if not isinstance(made, nn.Module):
        raise UsageError(
            f"{text} returns {type(made).__name__}; it must return a torch.nn.Module, or "
            "cfamc_zoo.wrap(module, size=...)"
        )
    return made


def _failed(what: str, error: BaseException) -> ModelError:
    return ModelError(f"{what} failed: {type(error).__name__}: {first_line(error)}")
