//===- Arrays.cpp - Python arrays without copies --------------------------===//
//
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
// numpy by __array_interface__ (which, unlike the buffer protocol and DLPack,
// also carries the types of ml_dtypes), PyTorch by data_ptr, JAX by
// unsafe_buffer_pointer, others by DLPack.
//
//===----------------------------------------------------------------------===//

#include "Arrays.h"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>

#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string_view>
#include <unordered_map>

using namespace paged_attn_python;
using compiler::ArrayView;

namespace {

//===----------------------------------------------------------------------===//
// Element types
//===----------------------------------------------------------------------===//

struct ElementName {
  const char *python; ///< of numpy, ml_dtypes and PyTorch
  const char *mlir;
  size_t bytes;
  nb::dlpack::dtype_code code;
};

constexpr auto kFloat = nb::dlpack::dtype_code::Float;
constexpr auto kInt = nb::dlpack::dtype_code::Int;
constexpr ElementName kElements[] = {
    {"float32", "f32", 4, kFloat},
    {"float16", "f16", 2, kFloat},
    {"bfloat16", "bf16", 2, nb::dlpack::dtype_code::Bfloat},
    {"float8_e4m3fn", "f8E4M3FN", 1, nb::dlpack::dtype_code::UInt},
    {"int8", "i8", 1, kInt},
    {"int32", "i32", 4, kInt},
    {"int64", "i64", 8, kInt},
};

const ElementName *findElement(std::string_view python) {
  for (const ElementName &element : kElements)
    if (python == element.python)
      return &element;
  return nullptr;
}

/// The MLIR name of a dtype object, or its own name where there is none.
std::string describeType(nb::handle dtype) {
  std::string name = nb::cast<std::string>(nb::str(dtype));
  if (name.rfind("torch.", 0) == 0)
    name = name.substr(6);
  if (const ElementName *element = findElement(name))
    return element->mlir;
  return name; // numpy prints '>f4' for bytes in the other order
}

/// describeType, remembered per dtype object. Guarded by the GIL.
const std::string &typeName(nb::handle dtype) {
  constexpr size_t kMostTypes = 64;
  static auto &names = *new std::unordered_map<PyObject *, std::string>;
  static thread_local std::string other;
  auto found = names.find(dtype.ptr());
  if (found != names.end())
    return found->second;
  std::string name = describeType(dtype);
  if (names.size() >= kMostTypes)
    return other = name;
  dtype.inc_ref(); // its address must not name another type later
  return names[dtype.ptr()] = name;
}

//===----------------------------------------------------------------------===//
// Frameworks
//===----------------------------------------------------------------------===//

Framework describeFramework(nb::handle type) {
  std::string module = nb::cast<std::string>(nb::str(type.attr("__module__")));
  auto isIn = [&](std::string_view root) {
    return module == root || module.rfind(std::string(root) + ".", 0) == 0;
  };
  if (isIn("torch"))
    return Framework::Torch;
  if (isIn("jax") || isIn("jaxlib"))
    return Framework::Jax;
  if (nb::hasattr(type, "__array_interface__"))
    return Framework::Numpy;
  return Framework::Other;
}

/// Remembered per type. Guarded by the GIL.
Framework frameworkOf(nb::handle array) {
  static auto &frameworks = *new std::unordered_map<PyObject *, Framework>;
  nb::handle type = array.type();
  auto found = frameworks.find(type.ptr());
  if (found != frameworks.end())
    return found->second;
  type.inc_ref();
  return frameworks[type.ptr()] = describeFramework(type);
}

void readShape(nb::handle shape, std::vector<int64_t> &sizes) {
  nb::tuple tuple = nb::borrow<nb::tuple>(shape);
  sizes.reserve(tuple.size());
  for (nb::handle size : tuple)
    sizes.push_back(nb::cast<int64_t>(size));
}

void *toPointer(nb::handle address) {
  void *pointer = PyLong_AsVoidPtr(address.ptr());
  if (!pointer && PyErr_Occurred())
    throw nb::python_error();
  return pointer;
}

[[noreturn]] void refuse(bool isType, const std::string &message) {
  if (isType)
    throw nb::type_error(message.c_str());
  throw nb::value_error(message.c_str());
}

[[noreturn]] void refuseStrides(const char *name, const std::string &strides,
                                const char *remedy) {
  refuse(false, "expected " + std::string(name) +
                    " to be dense and row-major, got strides " + strides +
                    "; " + remedy);
}

[[noreturn]] void refuseWriting(const char *name, const char *kind) {
  refuse(false, "expected " + std::string(name) +
                    " to be writable, got a read-only " + kind);
}

[[noreturn]] void refuseDevice(const char *name, const std::string &device) {
  refuse(false,
         "expected " + std::string(name) + " to be on the CPU, got " + device);
}

/// An attribute of a module, looked up once. Guarded by the GIL.
nb::handle lookUp(const char *module, const char *name) {
  static auto &found = *new std::unordered_map<std::string, nb::object>;
  nb::object &object = found[std::string(module) + "." + name];
  if (!object.is_valid())
    object = nb::module_::import_(module).attr(name);
  return object;
}

std::string textOf(nb::handle value) {
  return nb::cast<std::string>(nb::str(value));
}

//===----------------------------------------------------------------------===//
// One reader per framework
//===----------------------------------------------------------------------===//

ArrayOperand readNumpy(nb::handle array, const char *name, Access access) {
  ArrayOperand operand{{}, Framework::Numpy, nb::borrow(array)};
  nb::object interface = array.attr("__array_interface__");
  if (!interface["strides"].is_none()) {
    if (access != Access::Index)
      refuseStrides(name, textOf(interface["strides"]) + " bytes",
                    "make it so with numpy.ascontiguousarray");
    operand.owner = array.attr("copy")();
    interface = operand.owner.attr("__array_interface__");
  }
  nb::object data = interface["data"];
  operand.view.data = toPointer(data[0]);
  if (access == Access::Write && nb::cast<bool>(data[1]))
    refuseWriting(name, "numpy array");
  readShape(interface["shape"], operand.view.sizes);
  operand.view.type = typeName(array.attr("dtype"));
  return operand;
}

ArrayOperand readTorch(nb::handle array, const char *name, Access access) {
  ArrayOperand operand{{}, Framework::Torch, nb::borrow(array)};
  nb::object device = array.attr("device");
  if (textOf(device.attr("type")) != "cpu")
    refuseDevice(name, textOf(device));
  if (nb::cast<bool>(array.attr("requires_grad")))
    refuse(false, "expected " + std::string(name) +
                      " not to require a gradient, got one that does; detach "
                      "it or use paged_attn.torch");
  if (!nb::cast<bool>(array.attr("is_contiguous")())) {
    if (access != Access::Index)
      refuseStrides(name, textOf(array.attr("stride")()) + " elements",
                    "make it so with .contiguous()");
    operand.owner = array.attr("contiguous")();
  }
  operand.view.data = toPointer(operand.owner.attr("data_ptr")());
  readShape(array.attr("shape"), operand.view.sizes);
  operand.view.type = typeName(array.attr("dtype"));
  return operand;
}

ArrayOperand readJax(nb::handle array, const char *name, Access access) {
  if (nb::isinstance(array, lookUp("jax.core", "Tracer")))
    refuse(true, "expected " + std::string(name) +
                     " to be an array with values, got a traced one; use "
                     "paged_attn.jax under jit");
  if (access == Access::Write)
    refuse(true, "expected " + std::string(name) +
                     " to be writable, got a jax array, which never is; use "
                     "paged_attn.jax");
  ArrayOperand operand{{}, Framework::Jax, nb::borrow(array)};
  nb::object devices = array.attr("devices")();
  for (nb::handle device : devices)
    if (textOf(device.attr("platform")) != "cpu" || nb::len(devices) != 1)
      refuseDevice(name, textOf(devices));
  array.attr("block_until_ready")();
  operand.view.data = toPointer(array.attr("unsafe_buffer_pointer")());
  readShape(array.attr("shape"), operand.view.sizes);
  operand.view.type = typeName(array.attr("dtype"));
  return operand;
}

std::string describeType(nb::dlpack::dtype type) {
  for (const ElementName &element : kElements)
    if (uint8_t(element.code) == type.code && element.bytes * 8 == type.bits &&
        type.lanes == 1 && element.mlir != std::string_view("f8E4M3FN"))
      return element.mlir;
  return "DLPack type (" + std::to_string(type.code) + ", " +
         std::to_string(type.bits) + " bits)";
}

ArrayOperand readOther(nb::handle array, const char *name, Access access) {
  using Any = nb::ndarray<nb::ro>;
  using Writable = nb::ndarray<>;
  Any view;
  if (!nb::try_cast<Any>(array, view, /*convert=*/false))
    refuse(true, "expected " + std::string(name) +
                     " to be an array of numpy, torch or jax, got " +
                     textOf(array.type().attr("__name__")));
  if (view.device_type() != nb::device::cpu::value)
    refuseDevice(name, "DLPack device " + std::to_string(view.device_type()));
  Writable writable;
  if (access == Access::Write &&
      !nb::try_cast<Writable>(array, writable, /*convert=*/false))
    refuseWriting(name, "array");
  ArrayOperand operand{{}, Framework::Other, nb::borrow(array)};
  operand.view.data = const_cast<void *>(view.data());
  operand.view.type = describeType(view.dtype());
  int64_t stride = 1;
  for (size_t dim = view.ndim(); dim-- > 0;) {
    if (view.shape(dim) != 1 && view.stride(dim) != stride)
      refuseStrides(name, "of its own", "make it so first");
    stride *= int64_t(view.shape(dim));
  }
  for (size_t dim = 0; dim < view.ndim(); ++dim)
    operand.view.sizes.push_back(int64_t(view.shape(dim)));
  return operand;
}

//===----------------------------------------------------------------------===//
// Results
//===----------------------------------------------------------------------===//

/// JAX takes memory that lies on this boundary without a copy.
constexpr size_t kAlignment = 64;

/// Memory of a result until JAX takes it.
struct ResultBuffer {
  std::vector<int64_t> sizes;
  const ElementName *element;
  void *data;

  ResultBuffer(std::vector<int64_t> given, const ElementName *element)
      : sizes(std::move(given)), element(element) {
    size_t bytes = element->bytes;
    for (int64_t size : sizes)
      bytes *= size_t(size);
    bytes = (bytes / kAlignment + 1) * kAlignment;
    data = std::aligned_alloc(kAlignment, bytes);
    if (!data)
      throw std::bad_alloc();
  }
  ResultBuffer(const ResultBuffer &) = delete;
  ResultBuffer &operator=(const ResultBuffer &) = delete;
  ~ResultBuffer() { std::free(data); }
};

nb::object toJax(nb::object result) {
  auto &buffer = nb::cast<ResultBuffer &>(result);
  std::vector<size_t> sizes(buffer.sizes.begin(), buffer.sizes.end());
  nb::dlpack::dtype type{uint8_t(buffer.element->code),
                         uint8_t(buffer.element->bytes * 8), 1};
  nb::ndarray<nb::jax> array(buffer.data, sizes.size(), sizes.data(), result,
                             /*strides=*/nullptr, type);
  return nb::cast(array);
}

nb::tuple toTuple(const std::vector<int64_t> &sizes) {
  nb::list list;
  for (int64_t size : sizes)
    list.append(size);
  return nb::tuple(list);
}

} // namespace

ArrayOperand paged_attn_python::readArray(nb::handle array, const char *name,
                                          Access access) {
  if (nb::isinstance<ResultBuffer>(array)) {
    auto &buffer = nb::cast<ResultBuffer &>(array);
    return {{buffer.data, buffer.element->mlir, buffer.sizes},
            Framework::Jax,
            nb::borrow(array)};
  }
  switch (frameworkOf(array)) {
  case Framework::Numpy:
    return readNumpy(array, name, access);
  case Framework::Torch:
    return readTorch(array, name, access);
  case Framework::Jax:
    return readJax(array, name, access);
  case Framework::Other:
    return readOther(array, name, access);
  }
  nb::detail::raise("unknown framework");
}

/// Whether `value` is a plain Python number or a sequence of them.
static bool isPlain(nb::handle value) {
  return nb::isinstance<nb::list>(value) || nb::isinstance<nb::tuple>(value) ||
         nb::isinstance<nb::int_>(value) || nb::isinstance<nb::float_>(value);
}

nb::object paged_attn_python::asArray(nb::handle value, const char *dtype) {
  if (!isPlain(value))
    return nb::borrow(value);
  return lookUp("numpy", "asarray")(value, dtype);
}

nb::object paged_attn_python::asIndices(nb::handle value, const char *name) {
  if (!isPlain(value))
    return nb::borrow(value);
  const char *dtype = std::string_view(name) == "slots" ? "int64" : "int32";
  return lookUp("paged_attn._indices", "as_indices")(value, name, dtype);
}

nb::object paged_attn_python::makeResult(const ArrayOperand &like,
                                         const std::vector<int64_t> &sizes,
                                         const std::string &dtype) {
  switch (like.framework) {
  case Framework::Torch: {
    nb::object type = dtype.empty()
                          ? nb::object(like.owner.attr("dtype"))
                          : nb::borrow(lookUp("torch", dtype.c_str()));
    nb::dict keywords;
    keywords["dtype"] = type;
    return nb::borrow(lookUp("torch", "empty"))(toTuple(sizes), **keywords);
  }
  case Framework::Jax: {
    std::string name = dtype;
    for (const ElementName &element : kElements)
      if (name.empty() && like.view.type == element.mlir)
        name = element.python;
    const ElementName *element = findElement(name);
    if (!element)
      nb::raise_type_error("expected q to be of f32, f16 or bf16, got %s",
                           like.view.type.c_str());
    return nb::cast(new ResultBuffer(sizes, element),
                    nb::rv_policy::take_ownership);
  }
  default: {
    nb::object type = nb::cast(dtype);
    if (dtype.empty())
      type = like.owner.attr("dtype");
    return nb::borrow(lookUp("numpy", "empty"))(toTuple(sizes), type);
  }
  }
}

nb::object paged_attn_python::finishResult(Framework framework,
                                           nb::object result) {
  return framework == Framework::Jax ? toJax(std::move(result)) : result;
}

void paged_attn_python::bindArrays(nb::module_ &module) {
  nb::class_<ResultBuffer>(module, "_ResultBuffer");
}
