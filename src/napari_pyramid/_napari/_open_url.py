"""Ask for the address of a store: the command "Open URL..."."""

from __future__ import annotations

from napari.utils.theme import get_theme
from napari.viewer import Viewer
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor, QIcon
from qtpy.QtWidgets import (
    QComboBox,
    QDialog,
    QDialogButtonBox,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QToolButton,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_pyramid._napari._history import forget_urls, remember_url, remembered_urls
from napari_pyramid._napari._opening import open_in_background
from napari_pyramid._napari._preferences import options_for, parse_options
from napari_pyramid._napari._private import main_window
from napari_pyramid._napari._public_images import PUBLIC_IMAGES
from napari_pyramid.errors import LayoutError
from napari_pyramid.storage.address import is_url
from napari_pyramid.words import capitalized

__all__ = ["OpenUrl", "open_url"]

_HINT = "https://…/image.ome.zarr,  s3://bucket/image.zarr,  or a link of vizarr or Neuroglancer"
_OPTIONS_HINT = (
    "name=value, separated by commas, such as profile=NAME, endpoint=URL, anonymous=true or "
    "headers.Authorization=Bearer …  They are used for this store only, and not kept. "
    "Options for all stores are under Preferences > Image pyramids."
)


def open_url(viewer: Viewer) -> None:
    """Show the dialog that opens a URL."""
    dialog = OpenUrl(viewer, main_window(viewer))
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.show()


class OpenUrl(QDialog):
    """A dialog for a URL, with earlier ones and public images. The window answers meanwhile."""

    def __init__(self, viewer: Viewer, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._viewer = viewer
        self._is_gone = False
        attributes = self.__dict__
        self.destroyed.connect(lambda *_: attributes.update(_is_gone=True))
        self.setWindowTitle("Open URL")
        self.url = QComboBox()
        self.url.setEditable(True)
        self.url.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.url.setMinimumContentsLength(60)
        self.url.addItems(remembered_urls())
        self.url.setCurrentText("")
        line = self.url.lineEdit()
        assert line is not None
        line.setPlaceholderText(_HINT)
        self.more = QToolButton()
        self.more.setText("Access options")
        self.more.setCheckable(True)
        self.more.setArrowType(Qt.ArrowType.RightArrow)
        self.more.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.options = QLineEdit()
        self.options.setPlaceholderText("anonymous=true")
        self.options.setToolTip(_OPTIONS_HINT)
        self._hint = QLabel(_OPTIONS_HINT)
        self._hint.setWordWrap(True)
        self.public = _public_images()
        self.problem = QLabel()
        self.problem.setWordWrap(True)
        self.problem.setStyleSheet(f"color: {_error_color(viewer.theme)};")
        self.problem.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.busy = QProgressBar()
        self.busy.setRange(0, 0)
        self.busy.setTextVisible(False)
        self.busy.setMaximumHeight(6)
        self.forget = QPushButton("Forget earlier URLs")
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Close
        )
        self.buttons.addButton(self.forget, QDialogButtonBox.ButtonRole.ResetRole)
        for button in self.buttons.buttons():
            button.setIcon(QIcon())  # icons of the desktop do not fit napari's themes
        self._lay_out()
        self._show_more(False)
        self._set_busy(False)
        line.textChanged.connect(lambda text: self._set_busy(False))
        self.more.toggled.connect(self._show_more)
        self.public.itemSelectionChanged.connect(self._take_public)
        self.public.itemDoubleClicked.connect(lambda *_: self._open())
        self.forget.clicked.connect(self._forget)
        self.buttons.accepted.connect(self._open)
        self.buttons.rejected.connect(self.close)

    def _lay_out(self) -> None:
        box = QVBoxLayout(self)
        box.setSpacing(8)
        box.addWidget(QLabel("Address of a store, or a link to one in a viewer:"))
        widget: QWidget
        for widget in (self.url, self.more, self.options, self._hint):
            box.addWidget(widget)
        box.addWidget(QLabel("Public images to try:"))
        box.addWidget(self.public, 1)
        for widget in (self.busy, self.problem, self.buttons):
            box.addWidget(widget)
        self.resize(680, 470)

    @property
    def opens(self) -> QPushButton:
        """The button that opens the URL."""
        button = self.buttons.button(QDialogButtonBox.StandardButton.Open)
        assert button is not None
        return button

    def _open(self) -> None:
        url = self.url.currentText().strip()
        if not is_url(url):
            self._set_busy(False, "This is not a URL: it needs https://, s3://, gs:// or the like.")
            return
        try:
            options = {**(options_for(url) or {}), **parse_options(self.options.text())}
        except LayoutError as error:
            self._set_busy(False, str(error))
            return
        self._set_busy(True)
        open_in_background(self._viewer, url, options, lambda reason: self._on_end(url, reason))

    def _on_end(self, url: str, reason: str) -> None:
        if not reason:
            remember_url(url)
        if self._is_gone:
            return
        if reason:
            self._set_busy(False, reason)
        else:
            self.close()

    def _set_busy(self, is_busy: bool, problem: str = "") -> None:
        self.busy.setVisible(is_busy)
        self.problem.setText(capitalized(problem))
        self.problem.setVisible(bool(problem))
        self.opens.setEnabled(not is_busy and bool(self.url.currentText().strip()))
        self.forget.setVisible(self.url.count() > 0)

    def _show_more(self, is_shown: bool) -> None:
        self.options.setVisible(is_shown)
        self._hint.setVisible(is_shown)
        self.more.setArrowType(Qt.ArrowType.DownArrow if is_shown else Qt.ArrowType.RightArrow)

    def _take_public(self) -> None:
        for item in self.public.selectedItems():
            self.url.setCurrentText(item.data(0, Qt.ItemDataRole.UserRole))

    def _forget(self) -> None:
        forget_urls()
        text = self.url.currentText()
        self.url.clear()
        self.url.setCurrentText(text)
        self._set_busy(False)


def _error_color(theme_name: str) -> str:
    """Return the colour of errors that can be read on the background of a theme."""
    theme = get_theme(theme_name)
    is_dark = QColor(theme.background.as_hex()).lightness() < 128
    return "#ff7b7b" if is_dark else QColor(theme.error.as_hex()).darker(130).name()


def _public_images() -> QTreeWidget:
    tree = QTreeWidget()
    tree.setColumnCount(2)
    tree.setHeaderLabels(["Image", "From"])
    tree.setRootIsDecorated(False)
    tree.setStyleSheet("QTreeWidget::item { padding: 4px 2px; }")
    for image in PUBLIC_IMAGES:
        item = QTreeWidgetItem([image.title, image.provider])
        item.setData(0, Qt.ItemDataRole.UserRole, image.url)
        item.setToolTip(0, image.url)
        tree.addTopLevelItem(item)
    tree.resizeColumnToContents(0)
    return tree
