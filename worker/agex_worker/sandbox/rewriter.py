"""The walk over agent code: refuses by name what is never allowed, and puts a gate where only the run can tell.

Every kind of node is listed, here or as a visit method; one that a newer Python adds is refused until somebody has
thought about it. Gates have names that are no identifiers (`<attr>`), so no code can call or rebind them.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NoReturn, TypeVar

from agex_protocol.plan import SandboxPlan
from agex_worker import denials
from agex_worker.sandbox.annotation_text import is_harmless
from agex_worker.sandbox.doubt import doubtful_names
from agex_worker.sandbox.names import (
    ASSIGNABLE,
    DEFINABLE,
    LITERAL_ONLY,
    READABLE,
    READABLE_OF_SUPER,
    REFUSED_TO_BIND,
    STORABLE_DUNDERS,
    Kind,
    SandboxViolation,
    is_dunder,
    is_normal,
    kind_of,
    why_refused,
)
from agex_worker.sandbox.own import MARK_NAME
from agex_worker.sandbox.receiver import receiver_of, with_prologue

_N = TypeVar("_N", bound=ast.AST)

_READABLE_NAMES = frozenset({"__name__", "__debug__"})
_MODULE_NAMES = frozenset({"__all__", "__version__", "__author__", "__doc__"})

# Nodes that name nothing: their children are visited and they stay as they are.
_PLAIN = frozenset(
    """Module Expr Return Delete For AsyncFor While If With AsyncWith Raise Try TryStar Assert Pass Break Continue
    Assign BoolOp NamedExpr BinOp UnaryOp IfExp Dict Set ListComp SetComp DictComp GeneratorExp Await Yield YieldFrom
    Compare Call FormattedValue JoinedStr Constant Subscript Starred List Tuple Slice comprehension withitem match_case
    Match MatchValue MatchSingleton MatchSequence MatchOr Load Store Del And Or Add Sub Mult MatMult Div Mod Pow LShift
    RShift BitOr BitXor BitAnd FloorDiv Invert Not UAdd USub Eq NotEq Lt LtE Gt GtE Is IsNot In NotIn TypeAlias
    """.split()
)


def rewrite(tree: ast.Module, plan: SandboxPlan, source: str, filename: str, *, relative: bool = False) -> None:
    """Check the tree and put gates into it, in place. SandboxViolation for what is refused."""
    _Rewriter(_doubtful(plan), source.splitlines(), filename, relative).visit(tree)


@lru_cache(maxsize=64)
def _doubtful(plan: SandboxPlan) -> Callable[[str], bool]:
    return doubtful_names(plan)


class _Rewriter(ast.NodeTransformer):
    def __init__(self, doubtful: Callable[[str], bool], lines: list[str], filename: str, relative: bool) -> None:
        self._doubtful = doubtful
        self._lines = lines
        self._filename = filename
        self._relative = relative
        self._scopes = ["module"]
        self._classes: list[str] = []
        self._receivers: list[str] = []
        self._stringized = False

    def generic_visit(self, node: ast.AST) -> ast.AST:
        if type(node).__name__ not in _PLAIN:
            self._refuse(node, f"the syntax {type(node).__name__} is not allowed", "write it without")
        return super().generic_visit(node)

    # --- names --------------------------------------------------------------------------------------------------------

    def visit_Name(self, node: ast.Name) -> ast.AST:
        if isinstance(node.ctx, ast.Load):
            in_class = self._scopes[-1] == "class" and node.id in READABLE
            if is_dunder(node.id) and node.id not in _READABLE_NAMES and not in_class:
                self._refuse(node, f"the name {node.id}", why_refused(node.id))
            self._normal(node, node.id)
        else:
            self._binds(node, node.id)
        return node

    def visit_Global(self, node: ast.Global) -> ast.AST:
        for name in node.names:
            self._binds(node, name, scope="function")
        return node

    def visit_Nonlocal(self, node: ast.Nonlocal) -> ast.AST:
        for name in node.names:
            self._binds(node, name, scope="function")
        return node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        self._binds(node, node.arg, scope="function")
        node.annotation = self._annotation(node.annotation)
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.AST:
        if node.arg is not None and is_dunder(node.arg):
            self._refuse(node, f"the keyword argument {node.arg}", why_refused(node.arg))
        return super().generic_visit(node)

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:
        if node.name is not None:
            self._binds(node, node.name)
        if node.type is None:
            # A bare except would also catch what ends the action.
            node.type = ast.copy_location(ast.Name("<Exception>", ast.Load()), node)
        else:
            node.type = self.visit(node.type)
        node.body = self._statements(node.body)
        return node

    def visit_Import(self, node: ast.Import) -> ast.AST:
        for alias in node.names:
            self._imports(node, alias.name)
            self._binds(node, alias.asname or alias.name.partition(".")[0])
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        if node.level and not self._relative:
            self._refuse(node, "a relative import", "a script is no package; import a module by its name")
        if node.module == "__future__":
            self._stringized |= any(alias.name == "annotations" for alias in node.names)
            return node
        if node.module is not None:
            self._imports(node, node.module)
        for alias in node.names:
            if alias.name == "*":
                self._refuse(
                    node, f"from {node.module or '.'} import *", "import the names you need, or the module itself"
                )
            self._imports(node, alias.name)
            self._binds(node, alias.asname or alias.name)
        return node

    # --- attributes ---------------------------------------------------------------------------------------------------

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        self._normal(node, node.attr)
        on_receiver = isinstance(node.value, ast.Name) and node.value.id in self._receivers[-1:]
        node.value = self.visit(node.value)
        kind = self._kind(node.attr)
        if _is_super(node.value) and node.attr in READABLE_OF_SUPER:
            return node
        if kind == "refused":
            self._refuse(node, f"the attribute {node.attr}", why_refused(node.attr))
        if not isinstance(node.ctx, ast.Load):
            return self._stored(node, kind, on_receiver)
        if kind == "plain" or (kind == "private" and on_receiver):
            return node
        name = ast.Constant(self._mangled(node.attr))
        return _call("<private>" if kind == "private" else "<attr>", node, node.value, name)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        # `x.obj += other` also reads, and shows what it read to other's __radd__.
        if not isinstance(node.target, ast.Attribute) or self._kind(node.target.attr) != "doubtful":
            return super().generic_visit(node)
        if not _is_path(node.target):
            self._refuse(node, f"+= and its kin on the attribute {node.target.attr}", "give the object a name first")
        read = copy.deepcopy(node.target)
        read.ctx = ast.Load()
        operation = ast.Constant(type(node.op).__name__)
        value = _call("<inplace>", node.value, operation, self.visit(read), self.visit(node.value))
        return _located(ast.Assign([self.visit(node.target)], value), node)

    def _stored(self, node: ast.Attribute, kind: Kind, on_receiver: bool) -> ast.AST:
        dunder = is_dunder(node.attr)
        if dunder and node.attr not in STORABLE_DUNDERS:
            self._refuse(node, f"assigning to the attribute {node.attr}", why_refused(node.attr))
        if not on_receiver:
            node.value = _call(
                "<own>" if dunder or kind == "private" else "<store>", node, node.value, ast.Constant(node.attr)
            )
        return node

    def _kind(self, name: str) -> Kind:
        kind = kind_of(name)
        return "doubtful" if kind == "plain" and self._doubtful(name) else kind

    # --- functions and classes ----------------------------------------------------------------------------------------

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        return self._function(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        return self._function(node)

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:
        node.args = self.visit(node.args)
        self._scopes.append("function")
        node.body = self.visit(node.body)
        self._scopes.pop()
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        return super().generic_visit(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._binds(node, node.name)
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        self._type_parameters(node)
        node.bases = [self.visit(each) for each in node.bases]
        node.keywords = [self.visit(each) for each in node.keywords]
        self._scopes.append("class")
        self._classes.append(node.name)
        node.body = self._statements(node.body)
        mark = ast.Assign([ast.Name(MARK_NAME, ast.Store())], ast.Name("<mark>", ast.Load()))
        node.body.insert(_after_docstring(node.body), _located(mark, node))
        self._classes.pop()
        self._scopes.pop()
        return node

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:
        self._binds(node, node.name, defines=True)
        node.decorator_list = [self.visit(each) for each in node.decorator_list]
        self._type_parameters(node)
        node.args = self.visit(node.args)
        node.returns = self._annotation(node.returns)
        receiver = receiver_of(node) if self._scopes[-1] == "class" else None
        self._scopes.append("function")
        # Within a nested function the name still means the outer receiver: had it been bound there, receiver_of() would
        # have found that for the outer method.
        self._receivers += [receiver] if receiver else []
        node.body = self._statements(node.body)
        if receiver:
            self._receivers.pop()
            with_prologue(node, receiver, _after_docstring(node.body))
        self._scopes.pop()
        return node

    def _statements(self, body: list[ast.stmt]) -> list[ast.stmt]:
        return [self.visit(each) for each in body]

    def _type_parameters(self, node: Any) -> None:
        if parameters := getattr(node, "type_params", None):
            node.type_params = [self.visit(each) for each in parameters]

    def visit_TypeVar(self, node: Any) -> ast.AST:
        self._binds(node, node.name)
        return super().generic_visit(node)

    visit_ParamSpec = visit_TypeVar
    visit_TypeVarTuple = visit_TypeVar

    # --- assignments and annotations ----------------------------------------------------------------------------------

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        match node.targets:
            case [ast.Name(id=name)] if name in LITERAL_ONLY and self._scopes[-1] == "class":
                self._literal_names(node, name)
                return node
            case _:
                return super().generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        if isinstance(node.target, ast.Name) and is_dunder(node.target.id):
            self._refuse(node, f"an annotation of {node.target.id}", "assign to it without an annotation")
        node.target = self.visit(node.target)
        node.annotation = self._annotation(node.annotation) or node.annotation
        if node.value is not None:
            node.value = self.visit(node.value)
        return node

    def _annotation(self, node: ast.expr | None) -> ast.expr | None:
        """Libraries evaluate annotations that are strings, with everything in reach: those must only name types."""
        if node is None:
            return None
        if self._stringized:
            if not is_harmless(node):
                self._refuse(
                    node, "an annotation that computes", "only names and brackets, or no __future__ annotations"
                )
            return node
        if isinstance(node, ast.Starred):
            node.value = _call("<annotation>", node.value, self.visit(node.value))
            return node
        return _call("<annotation>", node, self.visit(node))

    def _literal_names(self, node: ast.Assign, name: str) -> None:
        try:
            value = ast.literal_eval(node.value)
        except ValueError:
            value = None
        names = (value,) if isinstance(value, str) else value
        if not isinstance(names, tuple | list):
            self._refuse(node, f"{name} that is not a literal tuple of names", "write the names out")
        for each in names:
            if not isinstance(each, str) or is_dunder(each) or self._kind(each) in ("refused", "doubtful"):
                self._refuse(node, f"{each!r} in {name}", "choose another name")

    # --- match --------------------------------------------------------------------------------------------------------

    def visit_MatchClass(self, node: ast.MatchClass) -> ast.AST:
        for name in node.kwd_attrs:
            self._normal(node, name)
            if self._kind(name) != "plain" or is_dunder(name):
                self._refuse(
                    node, f"the attribute {name} in a match pattern", "bind the object and read it in the case"
                )
        return super().generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> ast.AST:
        if node.name is not None:
            self._binds(node, node.name)
        return super().generic_visit(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> ast.AST:
        if node.name is not None:
            self._binds(node, node.name)
        return node

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:
        if node.rest is not None:
            self._binds(node, node.rest)
        return super().generic_visit(node)

    # --- rules --------------------------------------------------------------------------------------------------------

    def _binds(self, node: ast.AST, name: str, *, scope: str | None = None, defines: bool = False) -> None:
        self._normal(node, name)
        if name == "super":
            self._refuse(node, "binding the name super", "choose another name")
        scope = scope or self._scopes[-1]
        if is_dunder(name):
            allowed = {"class": DEFINABLE if defines else ASSIGNABLE - LITERAL_ONLY, "module": _MODULE_NAMES}
            if name not in allowed.get(scope, ()):
                what = "defining" if defines else "binding"
                self._refuse(node, f"{what} the name {name}", why_refused(name))
        elif scope == "class" and name in REFUSED_TO_BIND:
            self._refuse(node, f"the class member {name}", "choose another name: this one belongs to the interpreter")

    def _imports(self, node: ast.AST, dotted: str) -> None:
        for part in dotted.split("."):
            self._normal(node, part)
            if part.startswith("_") or kind_of(part) == "refused":
                self._refuse(node, f"the import of {dotted}", "a leading underscore marks what is a module's own")

    def _normal(self, node: ast.AST, name: str) -> None:
        if not is_normal(name):
            self._refuse(node, f"the name {name!r}", "write it in its normal form")

    def _mangled(self, name: str) -> str:
        owner = self._classes[-1].lstrip("_") if self._classes else ""
        return f"_{owner}{name}" if owner and name.startswith("__") and not name.endswith("__") else name

    def _refuse(self, node: ast.AST, what: str, remedy: str) -> NoReturn:
        line = getattr(node, "lineno", 0)
        text = self._lines[line - 1] if 0 < line <= len(self._lines) else ""
        column = getattr(node, "col_offset", 0) + 1
        message = f"line {line}: {what} is not allowed here: {remedy}"
        denials.note("sandbox", "syntax", what)
        raise SandboxViolation(message, (self._filename, line, column, text))


def _call(gate: str, at: ast.expr, *arguments: ast.expr) -> ast.Call:
    return _located(ast.Call(ast.Name(gate, ast.Load()), list(arguments), []), at)


def _located(node: _N, at: ast.AST) -> _N:
    ast.copy_location(node, at)
    return ast.fix_missing_locations(node)


def _is_super(node: ast.expr) -> bool:
    match node:
        case ast.Call(func=ast.Name(id="super"), args=[], keywords=[]):
            return True
        case _:
            return False


def _is_path(node: ast.expr) -> bool:
    """Whether it is a name, or attributes of one: then it may be evaluated twice."""
    while isinstance(node, ast.Attribute):
        node = node.value
    return isinstance(node, ast.Name)


def _after_docstring(body: list[ast.stmt]) -> int:
    match body:
        case [ast.Expr(value=ast.Constant(value=str())), *_]:
            return 1
        case _:
            return 0
