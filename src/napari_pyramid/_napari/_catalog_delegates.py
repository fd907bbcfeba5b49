"""Paint the entries of a catalog: rows of a list, and wells of a plate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from napari.utils.theme import get_theme
from qtpy.QtCore import QModelIndex, QRect, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPainterPath, QPen, QPixmap
from qtpy.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem

from napari_pyramid._napari._catalog_models import ENTRY, SHOWN

__all__ = ["Colors", "RowDelegate", "WellDelegate"]

_MARGIN = 6
_PICTURE = 48
_NAMED_FROM = 34
"""Side of a well, in pixels, from which its name is painted."""


@dataclass(frozen=True, slots=True)
class Colors:
    """Colours of napari's theme."""

    text: QColor
    dim: QColor
    chosen: QColor
    hovered: QColor
    marked: QColor
    """Frame of a chosen well, which is seen beside a picture."""
    empty: QColor

    @classmethod
    def of(cls, theme_name: str) -> Colors:
        """Return the colours of one of napari's themes."""
        theme = get_theme(theme_name)
        text, background = QColor(theme.text.as_hex()), QColor(theme.background.as_hex())
        chosen = QColor(theme.current.as_hex())
        is_dark = background.lightness() < 128
        return cls(
            text,
            _mixed(text, background, 0.62),
            chosen,
            _mixed(chosen, background, 0.35),
            chosen.lighter(140) if is_dark else chosen.darker(180),
            QColor(theme.primary.as_hex()),
        )


def _mixed(a: QColor, b: QColor, share: float) -> QColor:
    parts = zip((a.red(), a.green(), a.blue()), (b.red(), b.green(), b.blue()), strict=True)
    return QColor(*(round(share * x + (1 - share) * y) for x, y in parts))


class RowDelegate(QStyledItemDelegate):
    """Paint an entry as a row: thumbnail, name, and size with levels below the name."""

    def __init__(self, colors: Colors, parent: Any) -> None:
        super().__init__(parent)
        self.colors = colors

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:  # noqa: N802  # Qt's name
        """Return the height of a row; the width is the width of the list."""
        return QSize(120, max(_PICTURE, 2 * option.fontMetrics.height() + 4) + 2 * _MARGIN)

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        """Paint one row."""
        entry, shown = index.data(ENTRY), index.data(SHOWN)
        if entry is None or painter is None:
            return
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        _paint_ground(painter, option, self.colors)
        rect = option.rect.adjusted(_MARGIN, _MARGIN, -_MARGIN, -_MARGIN)
        picture = QRect(rect.left(), rect.center().y() - _PICTURE // 2, _PICTURE, _PICTURE)
        _paint_picture(painter, picture, shown.pixmap, self.colors)
        text = rect.adjusted(_PICTURE + 10, 0, 0, 0)
        metrics, line = painter.fontMetrics(), painter.fontMetrics().height()
        top = text.center().y() - line
        painter.setPen(self.colors.text)
        name = metrics.elidedText(entry.name, Qt.TextElideMode.ElideMiddle, text.width())
        painter.drawText(QRect(text.left(), top, text.width(), line), 0, name)
        words = shown.details if shown.is_read else "reading …"
        if entry.kind == "labels":
            words = f"labels · {words}"
        painter.setPen(self.colors.dim)
        below = QRect(text.left(), top + line + 3, text.width(), line)
        words = metrics.elidedText(words, Qt.TextElideMode.ElideRight, text.width())
        painter.drawText(below, 0, words)
        painter.restore()


class WellDelegate(QStyledItemDelegate):
    """Paint a well of a plate: its thumbnail, and its name if there is room."""

    def __init__(self, colors: Colors, parent: Any) -> None:
        super().__init__(parent)
        self.colors = colors

    def paint(
        self, painter: QPainter | None, option: QStyleOptionViewItem, index: QModelIndex
    ) -> None:
        """Paint one well, or the place of a missing one."""
        entry = index.data(ENTRY)
        if painter is None:
            return
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        if entry is None:
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(self.colors.empty)
            painter.drawEllipse(QRectF(option.rect).center(), 1.5, 1.5)
            painter.restore()
            return
        _paint_ground(painter, option, self.colors)
        picture = option.rect.adjusted(2, 2, -2, -2)
        pixmap = index.data(SHOWN).pixmap
        _paint_picture(painter, picture, pixmap, self.colors, fills=True)
        if min(picture.width(), picture.height()) >= _NAMED_FROM:
            _paint_name(painter, picture, entry.name, self.colors.text if pixmap is None else None)
        if option.state & QStyle.StateFlag.State_Selected:
            _paint_frame(painter, option.rect, self.colors)
        painter.restore()


def _paint_ground(painter: QPainter, option: QStyleOptionViewItem, colors: Colors) -> None:
    state = option.state
    if state & QStyle.StateFlag.State_Selected:
        color = colors.chosen
    elif state & QStyle.StateFlag.State_MouseOver:
        color = colors.hovered
    else:
        return
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(color)
    painter.drawRoundedRect(QRectF(option.rect).adjusted(0, 0, -1, -1), 4, 4)


def _paint_frame(painter: QPainter, place: QRect, colors: Colors) -> None:
    """Paint the frame of a chosen well, over its picture and tinted inside."""
    tint = QColor(colors.chosen)
    tint.setAlpha(70)
    painter.setBrush(tint)
    painter.setPen(QPen(colors.marked, 2))
    painter.drawRoundedRect(QRectF(place).adjusted(1.5, 1.5, -1.5, -1.5), 3, 3)


def _paint_picture(
    painter: QPainter, place: QRect, pixmap: QPixmap | None, colors: Colors, *, fills: bool = False
) -> None:
    """Paint a thumbnail whole, or cut to fill its place; a frame until it has been read."""
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colors.empty if pixmap is None else QColor(0, 0, 0))
    painter.drawRoundedRect(QRectF(place), 3, 3)
    if pixmap is None or pixmap.isNull():
        return
    mode = (
        Qt.AspectRatioMode.KeepAspectRatioByExpanding
        if fills
        else Qt.AspectRatioMode.KeepAspectRatio
    )
    size = pixmap.size().scaled(place.size(), mode)
    target = QRect(0, 0, size.width(), size.height())
    target.moveCenter(place.center())
    path = QPainterPath()
    path.addRoundedRect(QRectF(place), 3, 3)
    painter.setClipPath(path)
    painter.drawPixmap(target, pixmap)
    painter.setClipping(False)


def _paint_name(painter: QPainter, place: QRect, name: str, color: QColor | None) -> None:
    """Paint the name of a well in a colour; None for white with a shadow, on a picture."""
    font = painter.font()
    font.setPointSizeF(max(6.0, font.pointSizeF() * 0.8))
    painter.setFont(font)
    corner = place.adjusted(4, 1, -2, -2)
    if color is None:
        painter.setPen(QColor(0, 0, 0, 200))
        painter.drawText(corner.translated(1, 1), int(Qt.AlignmentFlag.AlignLeft), name)
    painter.setPen(QColor(255, 255, 255) if color is None else color)
    painter.drawText(corner, int(Qt.AlignmentFlag.AlignLeft), name)
