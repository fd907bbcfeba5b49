"""Takes the pictures in docs/images from real napari windows on the current display.

scripts/in-window.sh python docs/screenshots.py             # all, on a screen in memory
scripts/in-window.sh python docs/screenshots.py brain gif   # some of them
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QTimer

if TYPE_CHECKING:
    import napari


def brain(folder: Path) -> None:
    """The sample brain, open as a pyramid: in planes, then in three dimensions."""
    from recorder import pump, save, shot, window

    viewer = window()
    [layer] = viewer.open_sample("napari-pyramid", "brain")
    viewer.dims.set_current_step(0, 95)
    viewer.canvas.overlays.scale_bar.visible = True
    pump(2)
    save(shot(viewer), "brain")
    viewer.dims.ndisplay = 3
    layer.rendering = "attenuated_mip"
    viewer.reset_view()
    pump(6)
    save(shot(viewer), "brain-3d")
    viewer.close()


def samples(folder: Path) -> None:
    """The menu File > Open Sample."""
    from recorder import pump, save, screen, window

    viewer = window()
    viewer.window._qt_window.move(0, 0)
    pump()
    taken = []

    def take() -> None:
        taken.append(screen())
        for menu in (images, sample, file):
            menu.close()

    bar = viewer.window._qt_window.menuBar()
    file = viewer.window.file_menu
    file.popup(bar.mapToGlobal(bar.rect().bottomLeft()))
    pump()
    sample = _submenu(file, "Open Sample")
    images = _submenu(sample, "Image pyramids")
    QTimer.singleShot(1500, take)
    pump(20, until=lambda: bool(taken))
    save(taken[0], "open-sample")
    viewer.close()


def _submenu(menu: object, text: str) -> object:
    """Open the submenu whose name begins with a text, beside its entry."""
    from recorder import pump

    action = next(a for a in menu.actions() if a.text().replace("&", "").startswith(text))  # type: ignore[attr-defined]
    menu.setActiveAction(action)  # type: ignore[attr-defined]
    action.menu().popup(menu.mapToGlobal(menu.actionGeometry(action).topRight()))  # type: ignore[attr-defined]
    pump()
    return action.menu()


def build(folder: Path) -> None:
    """The dock "Build pyramid": what it plans, at work, and the result."""
    from recorder import pump, save, shot, wait

    viewer = _embryo()
    widget = _build_dock(viewer, folder)
    save(shot(viewer), "build-plan")
    at_work = []

    def look() -> None:
        rows = widget.queue_view.rows
        if rows and rows[0].progress.value() >= 400:
            timer.stop()
            at_work.append(shot(viewer))

    timer = QTimer(interval=20, timeout=look)
    timer.start()
    widget.build.click()
    wait(lambda: [task.state for task in widget.queue.tasks] == ["done"])
    timer.stop()
    save(at_work[0], "build-at-work")
    pump(1)
    save(shot(viewer), "build-done")
    viewer.close()


def _embryo() -> napari.Viewer:
    """Show an image of one resolution."""
    from recorder import pump, window
    from screenshot_data import embryo

    viewer = window()
    viewer.add_image(
        embryo(),
        name="embryo",
        axis_labels=("z", "y", "x"),
        scale=(2, 0.5, 0.5),
        units="um",
        colormap="magma",
        contrast_limits=(60, 2000),
    )
    viewer.dims.set_current_step(0, 48)
    viewer.canvas.overlays.scale_bar.visible = True
    pump(1)
    return viewer


def _build_dock(viewer: napari.Viewer, folder: Path) -> object:
    """Show the dock "Build pyramid", and wait for its plan and its estimate."""
    from recorder import dock, wait

    widget = dock(viewer, "Build pyramid", 460)
    wait(lambda: widget.is_settled)
    widget.destination.value = str(folder / "embryo.ome.zarr")
    wait(lambda: "≈" in widget.totals.values["time"].text())
    return widget


def browser(folder: Path) -> None:
    """The dock "Browse images" with a plate, and a well that was opened from it."""
    from qtpy.QtCore import QItemSelectionModel
    from recorder import dock, pump, save, shot, wait, window
    from screenshot_data import write_plate

    from napari_pyramid.catalog import open_catalog

    with as_file(files("napari_pyramid") / "data" / "nuclei.ozx") as nuclei:
        plate = write_plate(folder / "plate.ome.zarr", nuclei)
    viewer = window()
    widget = dock(viewer, "Browse images", 520)
    widget.show_catalog(open_catalog(plate))
    pump(1)
    index = widget.grid.model().index(1, 3)
    widget.grid.selectionModel().select(index, QItemSelectionModel.SelectionFlag.Select)
    widget.open_chosen.click()
    wait(lambda: not widget.is_busy and bool(viewer.layers))
    pump(1)
    save(shot(viewer), "browse-plate")
    viewer.close()


def labels(folder: Path) -> None:
    """The action "Edit labels": strokes of the brush on labels of a pyramid."""
    from recorder import pump, save, shot, wait, window

    from napari_pyramid._napari._editing import edit_labels

    viewer = window()
    viewer.open_sample("napari-pyramid", "nuclei")
    [store] = viewer.layers.save(str(folder / "nuclei.ome.zarr"), plugin="napari-pyramid")
    viewer.layers.clear()
    viewer.open(store, plugin="napari-pyramid")
    painted = next(layer for layer in viewer.layers if layer.as_layer_data_tuple()[2] == "labels")
    viewer.layers.selection = [painted]
    edit_labels(viewer)
    wait(lambda: viewer.layers[painted.name].mode == "paint")
    painted = viewer.layers[painted.name]
    painted.selected_label, painted.brush_size = 500, 14
    height, width = painted.extent.data[1]
    for step in range(60):
        row = height * (0.5 + 0.2 * np.sin(step / 9))
        painted.paint((row, width * (0.25 + 0.5 * step / 60)), painted.selected_label)
    pump(3)
    save(shot(viewer), "edit-labels", colours=256)
    viewer.close()


def readers(folder: Path) -> None:
    """The question of napari which of several readers to use."""
    from napari._qt.dialogs.qt_reader_dialog import QtReaderDialog
    from recorder import grab, pump, save, window

    viewer = window()
    names = {
        "napari": "napari builtins",
        "napari-ome-zarr": "napari-ome-zarr",
        "napari-pyramid": "Image pyramids",
    }
    dialog = QtReaderDialog("embryo.ome.zarr", viewer.window._qt_window, names)
    dialog.show()
    for button in dialog._reader_buttons:
        button.setChecked(button.text() == "Image pyramids")
    pump(1)
    save(grab(dialog), "choose-reader")
    dialog.close()
    viewer.close()


def open_url(folder: Path) -> None:
    """The dialog "Open URL", with a public image chosen."""
    from recorder import grab, pump, save, window

    from napari_pyramid._napari._open_url import OpenUrl

    viewer = window()
    dialog = OpenUrl(viewer, viewer.window._qt_window)
    dialog.show()
    dialog.public.expandAll()
    first = dialog.public.topLevelItem(0)
    dialog.public.setCurrentItem(first.child(0) or first)
    pump(1)
    save(grab(dialog), "open-url")
    dialog.close()
    viewer.close()


def export(folder: Path) -> None:
    """The dock "Export region" with a drawn rectangle."""
    from recorder import dock, pump, save, shot, wait, window

    viewer = window()
    viewer.open_sample("napari-pyramid", "channels")
    height, width = viewer.layers[0].extent.world[1]
    box = [[0.3 * height, 0.25 * width], [0.7 * height, 0.75 * width]]
    viewer.add_shapes(
        [box],
        edge_color="yellow",
        face_color="transparent",
        edge_width=height / 150,
        units="um",
        name="region",
    )
    viewer.reset_view()
    widget = dock(viewer, "Export region", 420)
    widget.region.value = "Drawn rectangle"
    widget.format.value = "TIFF (OME-TIFF)"
    widget.destination.value = str(folder / "cells.ome.tif")
    wait(lambda: widget.export.enabled)
    pump(1)
    save(shot(viewer), "export-region")
    viewer.close()


def gif(folder: Path) -> None:
    """The animation in the README: one resolution, Build, progress, a pyramid."""
    from recorder import Animation, pump, wait

    viewer = _embryo()
    animation = Animation(viewer)
    animation.frame(1000)
    widget = _build_dock(viewer, folder)
    animation.frame(1400)
    animation.point_at(widget.build)
    widget.build.click()
    timer = QTimer(interval=120, timeout=lambda: animation.frame(150))
    timer.start()
    wait(lambda: [task.state for task in widget.queue.tasks] == ["done"])
    timer.stop()
    wait(lambda: widget.is_settled)
    pump(2)
    animation.frame(1200)
    camera, plane = viewer.scene.camera, np.asarray(viewer.layers[0].data[0][48])
    start, zoom = np.array(camera.center[1:]), camera.zoom
    end = 0.5 * np.array(np.unravel_index(plane.argmax(), plane.shape))  # µm
    for step in range(1, 9):
        camera.zoom = zoom * 1.22**step
        camera.center = start + (end - start) * (1 - 1.22**-step) / (1 - 1.22**-8)
        pump(0.5)
        animation.frame(110)
    animation.frame(1800)
    animation.write("build")
    viewer.close()


@contextmanager
def _folder() -> Iterator[Path]:
    """Create the folder whose path can be read in the pictures, and remove it at the end."""
    for folder in (Path("/data/images"), Path.home() / "images"):
        created = folder if folder.parent.exists() else folder.parent
        try:
            folder.mkdir(parents=True)
        except OSError:
            continue
        try:
            yield folder
        finally:
            shutil.rmtree(created)
        return
    raise SystemExit("neither /data/images nor ~/images can be created: one must not exist yet")


PICTURES = {
    f.__name__: f for f in (brain, samples, build, browser, labels, readers, open_url, export, gif)
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("name", nargs="*", help=f"what to take: {', '.join(PICTURES)}")
    names = parser.parse_args().name or list(PICTURES)
    if unknown := [name for name in names if name not in PICTURES]:
        parser.error(f"no pictures of the name {', '.join(unknown)}")
    with tempfile.TemporaryDirectory() as settings:
        # napari as it is installed, whatever this user has changed
        os.environ["NAPARI_CONFIG"] = str(Path(settings) / "settings.yaml")
        for name in names:
            with _folder() as folder:
                PICTURES[name](folder)
