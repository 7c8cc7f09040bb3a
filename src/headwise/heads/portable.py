"""How a head is passed on: as ONNX, as a folder, through the hub, or on a backbone."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from ..contracts import Backbone
from ..errors import InputError

if TYPE_CHECKING:
    from .attached import ImageModel
    from .head import Head

__all__ = ["PortableHead"]


class PortableHead(nn.Module):
    """What `Head` does beside giving outputs; each piece of work has a file of its own."""

    def to_onnx(self, path: str | Path, mask: bool = False) -> None:
        """Write an ONNX file with the input "tokens" ``(n, s, d)`` and the output "outputs", float32.

        Outputs are ``(n, c)``, or ``(n, s, c)`` where every token has its own, those of `forward`, before the link. The
        number of samples is free; names of the classes are in the file's metadata under "classes".

        Parameters
        ----------
        path : path
            File to write.
        mask : bool
            Add the input "mask" ``(n, s)``, bool, True where a token is real.

        Raises
        ------
        InputError
            The packages of the extra ``onnx`` are not installed, or a mask is asked for and the head takes none.

        Examples
        --------
        >>> import numpy as np, onnxruntime
        >>> from headwise.heads import HeadClassifier
        >>> X, y = np.random.default_rng(0).normal(size=(20, 3, 4)).astype("float32"), np.repeat([0, 1], 10)
        >>> head = HeadClassifier("linear", beta=0.1).fit(X, y).head_
        >>> head.to_onnx("head.onnx")
        >>> session = onnxruntime.InferenceSession("head.onnx", providers=["CPUExecutionProvider"])
        >>> session.run(["outputs"], {"tokens": X})[0].shape
        (20, 2)
        """
        from .export import write_onnx

        head = cast("Head", self)
        inputs = {"tokens": torch.zeros(2, head.facts.num_tokens, head.facts.width, device="cpu")}
        if mask:
            if not head.takes_mask:
                said = " + ".join(map(str, head.specs))
                raise InputError(f"{said} needs every token in its place and takes no mask; export with mask=False")
            inputs["mask"] = torch.ones(2, head.facts.num_tokens, dtype=torch.bool, device="cpu")
        write_onnx(head.to_module().cpu(), inputs, path, head.class_names or head.classes)

    def attach(self, backbone: Backbone, *, layer: int | None = None, trainable: bool = False) -> ImageModel:
        """This head on a backbone, as one module from pixels to outputs.

        The module holds copies in float32: nothing that is done to it changes the head or the backbone.

        Parameters
        ----------
        backbone : Backbone
            For example of `headwise.load_backbone`; the one that made the head's tokens. Its layer, and the place in
            the layer, are those of the tokens.
        layer : int, optional
            Layer of the backbone, negative from the end, where the head does not say which (its tokens came from
            arrays); the last one by default.
        trainable : bool
            Let all parameters of backbone and head ask for gradients, for fine-tuning. The certificate is about the
            head as it was fitted, so the copy has none then.

        Returns
        -------
        ImageModel
            ``model(batch)`` gives outputs, ``model.preprocess(images)`` the batch, ``model.predict(images)`` classes.

        Raises
        ------
        InputError
            The backbone has other weights, preprocessing, layers or tokens than those of the head.
        """
        from .attached import attach

        return attach(cast("Head", self), backbone, layer, trainable)

    def save_pretrained(
        self,
        path: str | Path,
        overwrite: bool = False,
        *,
        license: str | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> None:
        """Write config.json, model.safetensors, certificate.json and a model card, README.md, into a folder.

        The certificate is of the head as it was fitted. A copy in another type (`to_module`) and a head that was
        changed since are saved without it, and the card says so.

        Parameters
        ----------
        path : path
            Folder; made where there is none. The card is written anew each time.
        overwrite : bool
            Replace another head in it.
        license : str, optional
            For the card, for example "apache-2.0".
        metrics : mapping, optional
            What you measured, for the card: names and values, for example ``{"accuracy": 0.93}``.

        Raises
        ------
        InputError
            The folder holds another head (without ``overwrite``) or files that headwise did not make; or the license is
            no text, or a metric no finite number.
        """
        from .save import save_head

        save_head(cast("Head", self), path, overwrite, license=license, metrics=metrics)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | None = None,
        private: bool = False,
        message: str = "Head fitted with headwise",
        license: str | None = None,
        metrics: Mapping[str, float] | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes to the Hugging Face hub; needs the extra ``hf``.

        Parameters
        ----------
        repo_id : str
            ``user/name``; made where there is none.
        token : str, optional
            By default that of ``hf auth login``.
        private : bool
            Whether a repository that is made now is private.
        message : str
            Of the commit.
        license, metrics
            As in `save_pretrained`.

        Returns
        -------
        str
            Address of the commit.

        Raises
        ------
        InputError
            huggingface_hub is not installed, or the hub refuses; the message says why.
        """
        from .save import push_head

        return push_head(cast("Head", self), repo_id, token, private, message, license=license, metrics=metrics)

    @classmethod
    def from_pretrained(
        cls, path: str | Path, *, hub: bool = False, revision: str | None = None, token: str | None = None
    ) -> Head:
        """Read a folder written by `save_pretrained`, or a repository of `push_to_hub`.

        Parameters
        ----------
        path : path
            A folder, or with ``hub=True`` the name of a repository, ``user/name``; a folder of that name goes first.
        hub : bool
            Whether the network may be used.
        revision, token : str, optional
            Branch, tag or commit of the repository, and an access token.

        Raises
        ------
        InputError
            A file is missing, broken, or of a newer format; or the repository cannot be read.
        """
        from .save import fetch_head, load_head

        return load_head(fetch_head(path, revision, token) if hub and not Path(path).exists() else path)
