"""Prints a module that runs every form of linalg op that is vectorized.

Each case fills its buffers with small integers, so that sums are exact in any
order, runs one op on views that lie inside of larger buffers, and prints the
whole output buffer: a store outside of the view shows. The printed text must
be the same however the ops were lowered.
"""

SIZES = [1, 3, 7, 8, 15, 16, 17, 24, 64, 80, 128]
DYNAMIC_SIZES = [1, 15, 16, 80]
TYPES = ["f32", "f16", "bf16"]
MATMULS = [(1, 8), (2, 3), (5, 7), (6, 16), (13, 10)]

HEADER = """
func.func private @printMemrefF32(memref<*xf32>) attributes {llvm.emit_c_interface}
#rc = affine_map<(r, c) -> (r, c)>
#cr = affine_map<(r, c) -> (c, r)>
#r = affine_map<(r, c) -> (r)>
#c = affine_map<(r, c) -> (c)>
#scalar = affine_map<(r, c) -> ()>
#i = affine_map<(i) -> (i)>
#none = affine_map<(i) -> ()>
"""

FILL = """
func.func private @fill_{type}(%m: memref<?x?x{type}>) {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c3 = arith.constant 3 : index
  %c5 = arith.constant 5 : index
  %c7 = arith.constant 7 : index
  %c17 = arith.constant 17 : index
  %eight = arith.constant 8 : i32
  %rows = memref.dim %m, %c0 : memref<?x?x{type}>
  %columns = memref.dim %m, %c1 : memref<?x?x{type}>
  scf.for %i = %c0 to %rows step %c1 {{
    scf.for %j = %c0 to %columns step %c1 {{
      %a = arith.muli %i, %c7 : index
      %b = arith.muli %j, %c5 : index
      %ij = arith.muli %i, %j : index
      %c = arith.muli %ij, %c3 : index
      %ab = arith.addi %a, %b : index
      %abc = arith.addi %ab, %c : index
      %mod = arith.remui %abc, %c17 : index
      %int = arith.index_cast %mod : index to i32
      %signed = arith.subi %int, %eight : i32
      %x = arith.sitofp %signed : i32 to {type}
      memref.store %x, %m[%i, %j] : memref<?x?x{type}>
    }}
  }}
  return
}}
func.func private @print_{type}(%m: memref<?x?x{type}>) {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %rows = memref.dim %m, %c0 : memref<?x?x{type}>
  %columns = memref.dim %m, %c1 : memref<?x?x{type}>
  %wide = memref.alloc(%rows, %columns) : memref<?x?xf32>
  scf.for %i = %c0 to %rows step %c1 {{
    scf.for %j = %c0 to %columns step %c1 {{
      %x = memref.load %m[%i, %j] : memref<?x?x{type}>
      %y = {widen}
      memref.store %y, %wide[%i, %j] : memref<?x?xf32>
    }}
  }}
  %u = memref.cast %wide : memref<?x?xf32> to memref<*xf32>
  call @printMemrefF32(%u) : (memref<*xf32>) -> ()
  memref.dealloc %wide : memref<?x?xf32>
  return
}}
"""


class Case:
    """One function: buffers with a margin of one row and column on each side."""

    def __init__(self, name):
        self.name, self.lines, self.buffers = name, [], []

    def buffer(self, name, rows, columns, element, rank=2, dynamic=False):
        """A filled buffer and a view %name of it; its type is returned."""
        full = f"memref<{rows + 2}x{columns + 2}x{element}>"
        any_type = f"memref<?x?x{element}>"
        layout = f"strided<[{columns + 2}, 1], offset: ?>"
        if rank == 1:
            view = f"memref<{columns}x{element}, strided<[1], offset: ?>>"
        elif rank == 0:
            view = f"memref<{element}, strided<[], offset: ?>>"
        elif dynamic:
            view = f"memref<?x?x{element}, {layout}>"
        else:
            view = f"memref<{rows}x{columns}x{element}, {layout}>"
        size_r = "%rows" if dynamic else rows
        size_c = "%columns" if dynamic else columns
        self.lines += [
            f"%{name}_full = memref.alloc() : {full}",
            f"%{name}_any = memref.cast %{name}_full : {full} to {any_type}",
            f"func.call @fill_{element}(%{name}_any) : ({any_type}) -> ()",
            f"%{name} = memref.subview %{name}_full[%one, %one] "
            f"[{size_r}, {size_c}] [1, 1] : {full} to {view}",
        ]
        self.buffers.append((name, any_type, element))
        return view

    def generic(self, maps, iterators, ins, outs, body):
        names = lambda pairs: ", ".join("%" + n for n, _ in pairs)
        types = lambda pairs: ", ".join(t for _, t in pairs)
        kinds = ", ".join(f'"{k}"' for k in iterators)
        text = f"linalg.generic {{indexing_maps = [{', '.join(maps)}], iterator_types = [{kinds}]}}"
        if ins:
            text += f" ins({names(ins)} : {types(ins)})"
        text += f" outs({names(outs)} : {types(outs)}) {{"
        self.lines += [text] + body + ["}"]

    def text(self, rows, columns):
        prints = [f"func.call @print_{e}(%{n}_any) : ({t}) -> ()" for n, t, e in self.buffers]
        start = [f"func.func @{self.name}(%rows: index, %columns: index, %one: index) {{"]
        return "\n".join(start + self.lines + prints + ["return", "}"])


def widen(value, element, result):
    if element == "f32":
        return f"{result} = arith.addf {value}, {value} : f32"
    return f"{result} = arith.extf {value} : {element} to f32"


def matmul(rows, depth, columns):
    case = Case(f"matmul_{rows}_{depth}_{columns}")
    a = case.buffer("a", rows, depth, "f32")
    b = case.buffer("b", depth, columns, "f32")
    c = case.buffer("c", rows, columns, "f32")
    case.lines.append(f"linalg.matmul ins(%a, %b : {a}, {b}) outs(%c : {c})")
    d = case.buffer("d", rows, columns, "f32")
    case.lines += [
        "%zero = arith.constant 0.0 : f32",
        f"linalg.fill ins(%zero : f32) outs(%d : {d})",
        f"linalg.matmul ins(%a, %b : {a}, {b}) outs(%d : {d})",
    ]
    return case


def elementwise(rows, columns, element, dynamic):
    case = Case(f"elementwise_{rows}_{columns}_{element}{'_dynamic' * dynamic}")
    x = case.buffer("x", rows, columns, element, dynamic=dynamic)
    y = case.buffer("y", rows, columns, "f32", dynamic=dynamic)
    z = case.buffer("z", rows, columns, element, dynamic=dynamic)
    w = case.buffer("w", 1, rows, "f32", rank=1)
    v = case.buffer("v", 1, columns, "f32", rank=1)
    # With dynamic sizes the 1-D operands alone fix the sizes of the loops.
    ins = [("x", x), ("w", w), ("v", v)]
    maps = ["#rc", "#r", "#c", "#rc", "#rc"]
    case.lines.append("%k = arith.constant 3.0 : f32")
    narrow = (
        "%n = arith.negf %s : f32"
        if element == "f32"
        else f"%n = arith.truncf %s : f32 to {element}"
    )
    body = [
        f"^bb0(%p: {element}, %q: f32, %t: f32, %old: f32, %unused: {element}):",
        widen("%p", element, "%f"),
        "%g = arith.mulf %f, %k : f32",
        "%h = arith.addf %g, %q : f32",
        "%above = arith.cmpf ogt, %h, %t : f32",
        "%s = arith.select %above, %h, %t : f32",
        "%index = linalg.index 1 : index",
        "%lane = arith.index_cast %index : index to i32",
        "%row = linalg.index 0 : index",
        "%row32 = arith.index_cast %row : index to i32",
        "%seen = arith.cmpi sle, %lane, %row32 : i32",
        "%sum = arith.addf %s, %old : f32",
        "%masked = arith.select %seen, %sum, %k : f32",
        narrow,
        f"linalg.yield %masked, %n : f32, {element}",
    ]
    case.generic(maps, ["parallel", "parallel"], ins, [("y", y), ("z", z)], body)
    return case


def reduction(rows, columns, element, dynamic):
    case = Case(f"reduction_{rows}_{columns}_{element}{'_dynamic' * dynamic}")
    x = case.buffer("x", rows, columns, element, dynamic=dynamic)
    y = case.buffer("y", rows, columns, "f32", dynamic=dynamic)
    m = case.buffer("m", 1, rows, "f32", rank=1)
    l = case.buffer("l", 1, rows, "f32", rank=1)
    body = [
        f"^bb0(%p: {element}, %old: f32, %max: f32, %sum: f32):",
        widen("%p", element, "%f"),
        "%g = arith.subf %old, %f : f32",
        "%a = arith.maximumf %g, %max : f32",
        "%b = arith.addf %sum, %f : f32",
        "linalg.yield %g, %a, %b : f32, f32, f32",
    ]
    outs = [("y", y), ("m", m), ("l", l)]
    case.generic(["#rc", "#rc", "#r", "#r"], ["parallel", "reduction"], [("x", x)], outs, body)
    return case


def vector_ops(size, element):
    case = Case(f"vector_{size}_{element}")
    x = case.buffer("x", 1, size, element, rank=1)
    y = case.buffer("y", 1, size, "f32", rank=1)
    s = case.buffer("s", 1, 1, "f32", rank=0)
    f = case.buffer("f", 3, size, element)
    g = case.buffer("g", 3, size, element)
    h = case.buffer("h", 3, size, element)
    body = [f"^bb0(%p: {element}, %old: f32):", widen("%p", element, "%w")]
    body += ["%z = arith.mulf %w, %old : f32", "linalg.yield %z : f32"]
    case.generic(["#i", "#i"], ["parallel"], [("x", x)], [("y", y)], body)
    body = ["^bb0(%p: f32, %old: f32):", "%z = arith.addf %p, %old : f32", "linalg.yield %z : f32"]
    case.generic(["#i", "#none"], ["reduction"], [("y", y)], [("s", s)], body)
    case.lines += [
        f"%k = arith.constant 5.0 : {element}",
        f"linalg.fill ins(%k : {element}) outs(%f : {f})",
        f"linalg.copy ins(%h : {h}) outs(%g : {g})",
    ]
    return case


def transpose(rows, columns, element):
    case = Case(f"transpose_{rows}_{columns}_{element}")
    x = case.buffer("x", rows, columns, element)
    y = case.buffer("y", columns, rows, "f32")
    z = case.buffer("z", columns, rows, element)
    body = [f"^bb0(%p: {element}, %old: f32):", widen("%p", element, "%w"), "linalg.yield %w : f32"]
    case.generic(["#rc", "#cr"], ["parallel", "parallel"], [("x", x)], [("y", y)], body)
    case.lines.append(f"linalg.transpose ins(%x : {x}) outs(%z : {z}) permutation = [1, 0]")
    return case


def cases():
    for n in SIZES:
        for rows, depth in MATMULS:
            yield matmul(rows, depth, n), rows, n
        for element in TYPES:
            yield vector_ops(n, element), 1, n
            for dynamic in (False, True)[: 1 + (n in DYNAMIC_SIZES)]:
                yield elementwise(3, n, element, dynamic), 3, n
                yield reduction(3, n, element, dynamic), 3, n
            for rows in (5, 16, 17)[: 2 + (n == 17)]:
                yield transpose(rows, n, element), rows, n


def main():
    print(HEADER)
    for element in TYPES:
        same = "arith.bitcast %x : f32 to f32"
        text = same if element == "f32" else f"arith.extf %x : {element} to f32"
        print(FILL.format(type=element, widen=text))
    calls = []
    for case, rows, columns in cases():
        print(case.text(rows, columns))
        names = [f"%r{len(calls)}", f"%c{len(calls)}"]
        calls.append(
            f"{names[0]} = arith.constant {rows} : index\n"
            f"{names[1]} = arith.constant {columns} : index\n"
            f"call @{case.name}({names[0]}, {names[1]}, %one) : (index, index, index) -> ()"
        )
    print("func.func @main() {\n%one = arith.constant 1 : index")
    print("\n".join(calls) + "\nreturn\n}")


main()
