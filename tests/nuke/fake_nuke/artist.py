"""The part of the module `nuke` that speaks with the artist: messages and menus."""

from __future__ import annotations

from typing import Any

from fake_nuke.guard import on_main, session


def message(prompt: str) -> None:
    session().modal("nuke.message")
    session().messages.append(prompt)


def alert(prompt: str) -> None:
    session().modal("nuke.alert")
    session().messages.append(prompt)


def ask(prompt: str) -> bool:
    fake = session()
    fake.modal("nuke.ask")
    fake.need_gui("nuke.ask")
    fake.messages.append(prompt)
    if not fake.answers:
        raise fake.misuse(f"nobody is there to answer: {prompt}")
    return fake.answers.pop(0)


def tprint(*args: Any, sep: str = " ", end: str = "\n", file: Any = None) -> None:
    session().printed.append(sep.join(map(str, args)))


def warning(message: str) -> None:
    session().printed.append(message)


def error(message: str) -> None:
    session().printed.append(message)


def debug(message: str) -> None:
    session().printed.append(message)


class MenuItem:
    def __init__(self, name: str, script: Any = None) -> None:
        self._name, self._script, self._enabled = name, script, True

    def name(self) -> str:
        return self._name

    def script(self) -> Any:
        return self._script

    def setEnabled(self, enabled: bool) -> None:
        self._enabled = enabled

    @on_main
    def invoke(self) -> None:
        if callable(self._script):
            self._script()
        elif self._script:
            exec(compile(self._script, f"<menu {self._name}>", "exec"), {"nuke": session().nuke})


class Menu(MenuItem):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._items: list[MenuItem] = []

    @on_main
    def addCommand(
        self,
        name: str,
        command: Any = None,
        shortcut: str | None = None,
        icon: str | None = None,
        tooltip: str | None = None,
        index: int = -1,
        readonly: bool = False,
        shortcutContext: int = 0,
    ) -> MenuItem:
        *path, last = name.split("/")
        menu = self
        for step in path:
            menu = menu.addMenu(step)
        item = MenuItem(last, command)
        menu._items = [i for i in menu._items if i._name != last] + [item]
        return item

    @on_main
    def addMenu(
        self, name: str, icon: str | None = None, tooltip: str = "", index: int = -1
    ) -> Menu:
        found = self.findItem(name)
        if isinstance(found, Menu):
            return found
        menu = Menu(name)
        self._items.append(menu)
        return menu

    @on_main
    def addSeparator(self, index: int = -1) -> MenuItem:
        item = MenuItem("")
        self._items.append(item)
        return item

    def items(self) -> list[MenuItem]:
        return list(self._items)

    def findItem(self, name: str) -> MenuItem | None:
        step, _, rest = name.partition("/")
        for item in self._items:
            if item._name == step:
                if not rest:
                    return item
                return item.findItem(rest) if isinstance(item, Menu) else None
        return None

    @on_main
    def removeItem(self, name: str) -> None:
        self._items = [i for i in self._items if i._name != name]


@on_main
def menu(name: str) -> Menu:
    fake = session()
    fake.need_gui("nuke.menu")
    if name not in ("Nuke", "Nodes", "Pane", "Node Graph", "Viewer", "Animation", "Properties"):
        raise RuntimeError(f"there is no menu {name}")
    return fake.menus.setdefault(name, Menu(name))


def toolbar(name: str, create: bool = True) -> Menu:
    return menu(name)
