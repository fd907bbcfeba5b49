"""List public images that can be opened with a network connection."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PUBLIC_IMAGES", "PublicImage"]


@dataclass(frozen=True, slots=True)
class PublicImage:
    """One image on a public server."""

    key: str
    """Key of the sample in the manifest."""
    title: str
    provider: str
    url: str


_EBI = "https://livingobjects.ebi.ac.uk/idr/zarr"

PUBLIC_IMAGES = (
    PublicImage(
        "idr_embryo",
        "Mouse blastocyst with nuclei as labels, 3-D",
        "Image Data Resource, idr0062",
        f"{_EBI}/v0.5/idr0062A/6001240_labels.zarr",
    ),
    PublicImage(
        "idr_cell_painting",
        "Cell Painting, several fields with 5 channels",
        "Image Data Resource, idr0033",
        f"{_EBI}/v0.5/idr0033A/BR00109990_C2.zarr",
    ),
    PublicImage(
        "idr_plate",
        "Plate of 50 wells with stacks of 31 planes",
        "Image Data Resource, idr0090",
        f"{_EBI}/v0.5/idr0090/190129.zarr",
    ),
    PublicImage(
        "idr_brain",
        "Brain slice in three colours, large",
        "Image Data Resource, idr0048",
        f"{_EBI}/v0.4/idr0048A/9846152.zarr",
    ),
    PublicImage(
        "bia_expansion",
        "Microbial eukaryotes, expansion microscopy",
        "BioImage Archive, S-BIAD2095",
        "https://uk1s3.embassy.ebi.ac.uk/bia-integrator-data/S-BIAD2095/"
        "d39625f2-590d-4e19-9f61-37489318b1c0/3c55c404-49e4-4e9d-bb76-c028b08835d3.ome.zarr/0",
    ),
    PublicImage(
        "openorganelle_hela",
        "HeLa cell, electron microscopy (FIB-SEM)",
        "OpenOrganelle, jrc_hela-3",
        "s3://janelia-cosem-datasets/jrc_hela-3/jrc_hela-3.zarr/recon-1/em/fibsem-uint8",
    ),
    PublicImage(
        "mobie_platynereis",
        "Platynereis larva, electron microscopy, 10 levels",
        "MoBIE, EMBL",
        "https://s3.embl.de/i2k-2020/platy-raw.ome.zarr",
    ),
    PublicImage(
        "zebrahub_embryo",
        "Zebrafish embryo over 791 timepoints, light sheet",
        "Zebrahub, ZSNS001",
        "https://public.czbiohub.org/royerlab/zebrahub/imaging/single-objective/ZSNS001.ome.zarr",
    ),
)
"""The catalogue. Each image is also a sample in ``napari.yaml``; a test compares the two."""
