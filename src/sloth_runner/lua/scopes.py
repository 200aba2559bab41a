"""Which names of a file are its own and which are global: scopes, as Lua has them."""

from collections.abc import Callable

from msgspec import Struct, field

from sloth_runner.lua.syntax import Node, argument_nodes, dotted, literal, text_of

ENVIRONMENTS = frozenset({"_G", "_ENV"})
"""The names by which a file can speak of all globals."""

OUTSIDE = frozenset({"require", "dofile", "loadfile", "load", "loadstring"})
"""Functions that bring in code from elsewhere, which may define anything."""


class Use(Struct, frozen=True):
    """A global, or a field of one ("pkg.install"), that is read or called."""

    name: str
    node: Node
    call: Node | None = None

    @property
    def root(self) -> str:
        """The global itself."""
        return self.name.partition(".")[0]


class Names(Struct):
    """The global names of a file.

    ``written`` are globals that it assigns, by name where first; ``extended`` are tables
    that it adds fields to, by dotted name; ``outside`` says that other code is brought in,
    or another environment.
    """

    uses: list[Use] = field(default_factory=list)
    written: dict[str, Node] = field(default_factory=dict)
    functions: set[str] = field(default_factory=set)
    extended: set[str] = field(default_factory=set)
    outside: bool = False


def names_of(root: Node) -> Names:
    """Returns the global names of a chunk."""
    walk = _Walk()
    walk.inside(root)
    return walk.names


class _Walk:
    def __init__(self) -> None:
        self.names = Names()
        self._scopes: list[set[str]] = []
        self._handlers: dict[str, Callable[[Node], None]] = {
            "block": self.inside,
            "variable_declaration": self._local,
            "function_declaration": self._function,
            "function_definition": self._body,
            "for_statement": self._for,
            "repeat_statement": self._repeat,
            "assignment_statement": self._assignment,
            "function_call": self._call,
            "dot_index_expression": self._index,
            "method_index_expression": self._method,
            "identifier": self._identifier,
            "field": self._field,
            "goto_statement": _nothing,
            "label_statement": _nothing,
            "comment": _nothing,
        }

    def inside(self, node: Node) -> None:
        """Visits what is below ``node`` in a scope of its own."""
        self._scopes.append(set())
        self._below(node)
        self._scopes.pop()

    def _visit(self, node: Node | None) -> None:
        if node is None:
            return
        handler = self._handlers.get(node.type)
        if handler is not None:
            handler(node)
        else:
            self._below(node)

    def _below(self, node: Node) -> None:
        # Not by recursion: a sum of a thousand terms is a thousand nodes deep.
        pending = list(reversed(node.named_children))
        while pending:
            child = pending.pop()
            handler = self._handlers.get(child.type)
            if handler is not None:
                handler(child)
            else:
                pending += reversed(child.named_children)

    def _declare(self, node: Node | None) -> None:
        if node is not None and node.type == "identifier":
            self._scopes[-1].add(text_of(node))
            # With another environment, every global is whatever that says.
            self.names.outside |= text_of(node) == "_ENV"

    def _is_local(self, name: str) -> bool:
        # In an environment of its own, every name is a field of that.
        return any(name in scope or "_ENV" in scope for scope in self._scopes)

    def _local(self, node: Node) -> None:
        statement = node.named_children[0] if node.named_children else None
        if statement is not None and statement.type == "assignment_statement":
            targets, *expressions = statement.named_children
            for expression in expressions:
                self._visit(expression)
        else:
            targets = statement or node
        for target in targets.named_children:
            self._declare(target)
        self._declare(targets)

    def _function(self, node: Node) -> None:
        name = node.child_by_field_name("name")
        if node.children and node.children[0].type == "local":
            self._declare(name)
        elif name is not None:
            self._target(name)
            if name.type == "identifier" and not self._is_local(text_of(name)):
                self.names.functions.add(text_of(name))
        method = name is not None and name.type == "method_index_expression"
        self._body(node, method=method)

    def _body(self, node: Node, *, method: bool = False) -> None:
        self._scopes.append({"self"} if method else set())
        parameters = node.child_by_field_name("parameters")
        for parameter in parameters.named_children if parameters is not None else ():
            self._declare(parameter)
        body = node.child_by_field_name("body")
        if body is not None:
            self.inside(body)
        self._scopes.pop()

    def _for(self, node: Node) -> None:
        clause, body = node.child_by_field_name("clause"), node.child_by_field_name("body")
        names: list[Node] = []
        for child in clause.named_children if clause is not None else ():
            if child.type == "variable_list":
                names += child.named_children
            elif clause is not None and child == clause.child_by_field_name("name"):
                names.append(child)
            else:
                self._visit(child)
        self._scopes.append(set())
        for name in names:
            self._declare(name)
        if body is not None:
            self.inside(body)
        self._scopes.pop()

    def _repeat(self, node: Node) -> None:
        self._scopes.append(set())
        body = node.child_by_field_name("body")
        if body is not None:
            self._below(body)
        self._visit(node.child_by_field_name("condition"))
        self._scopes.pop()

    def _assignment(self, node: Node) -> None:
        targets, *expressions = node.named_children
        for expression in expressions:
            self._visit(expression)
        for target in targets.named_children:
            self._target(target)

    def _target(self, node: Node) -> None:
        """Takes note of what is assigned to."""
        if node.type == "identifier":
            if not self._is_local(text_of(node)):
                self.names.written.setdefault(text_of(node), node)
                self.names.outside |= text_of(node) in ENVIRONMENTS
            return
        table = node.child_by_field_name("table")
        outer = dotted(table)
        name = _field_name(node) if outer in ENVIRONMENTS and not self._is_local(outer) else None
        if name is not None:
            self.names.written.setdefault(name, node)
        elif node.type not in ("dot_index_expression", "method_index_expression"):
            self._below(node)
        elif outer is None or self._is_local(outer.partition(".")[0]):
            self._visit(table)
        else:
            self.names.extended.add(_plain(outer))
            self._visit(table)

    def _call(self, node: Node) -> None:
        name = node.child_by_field_name("name")
        path = dotted(name)
        if name is not None and path is not None and not self._is_local(path.partition(".")[0]):
            self._use(path, name, node)
            self.names.outside |= _plain(path) in OUTSIDE
        else:
            self._visit(name)
        for argument in argument_nodes(node):
            self._visit(argument)

    def _index(self, node: Node) -> None:
        path = dotted(node)
        if path is None:
            self._visit(node.child_by_field_name("table"))
        elif not self._is_local(path.partition(".")[0]):
            self._use(path, node)

    def _method(self, node: Node) -> None:
        self._visit(node.child_by_field_name("table"))

    def _identifier(self, node: Node) -> None:
        name = text_of(node)
        if not self._is_local(name):
            self._use(name, node)

    def _use(self, path: str, node: Node, call: Node | None = None) -> None:
        """Takes note of a global that is read; one that is looked up in _G may well be missing."""
        if path in ENVIRONMENTS:  # whoever gets hold of the table of all globals may define any
            self.names.outside = True
        elif path == _plain(path):
            self.names.uses.append(Use(path, node, call))

    def _field(self, node: Node) -> None:
        if node.children[0].type == "[":
            self._visit(node.child_by_field_name("name"))
        self._visit(node.child_by_field_name("value"))


def _plain(path: str) -> str:
    """Returns a dotted name without the table of all globals before it."""
    first, _, rest = path.partition(".")
    return rest if rest and first in ENVIRONMENTS else path


def _field_name(node: Node) -> str | None:
    """Returns the name of the field that ``a.b`` or ``a["b"]`` means, None for a computed one."""
    name = node.child_by_field_name("field")
    if name is None or node.type == "dot_index_expression":
        return name and text_of(name)
    key = literal(name)
    return key if isinstance(key, str) else None


def _nothing(_: Node) -> None:
    return None
