# How this project builds against Debian's MLIR: everything links the shared
# libMLIR and libLLVM and no MLIR archive (an archive would bring a second copy
# of MLIR's type ids and command-line options into the process).

list(APPEND CMAKE_PREFIX_PATH /usr/lib/llvm-22)
find_package(MLIR 22.1 REQUIRED CONFIG)
message(STATUS "MLIR ${LLVM_PACKAGE_VERSION} from ${MLIR_DIR}")

find_program(CCACHE_PROGRAM ccache)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
endif()

list(APPEND CMAKE_MODULE_PATH ${MLIR_CMAKE_DIR} ${LLVM_CMAKE_DIR})
include(AddLLVM) # defines what TableGen.cmake calls
include(TableGen)
include(AddMLIR)
separate_arguments(_llvm_defs NATIVE_COMMAND "${LLVM_DEFINITIONS}")

# Warnings of every target of ours.
add_library(paged_attn_warnings INTERFACE)
target_compile_options(paged_attn_warnings INTERFACE -Wall -Wextra
  $<$<BOOL:${PAGED_ATTN_WERROR}>:-Werror>)

# Everything that sees MLIR headers links this. Generated code is SYSTEM: it
# has unused parameters by the dozen.
add_library(paged_attn_mlir INTERFACE)
target_compile_definitions(paged_attn_mlir INTERFACE ${_llvm_defs})
target_include_directories(paged_attn_mlir SYSTEM INTERFACE
  $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/dialect>)
foreach(dir ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
  target_include_directories(paged_attn_mlir SYSTEM INTERFACE $<BUILD_INTERFACE:${dir}>)
endforeach()
target_include_directories(paged_attn_mlir INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/dialect>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
target_link_libraries(paged_attn_mlir INTERFACE MLIR LLVM $<BUILD_INTERFACE:paged_attn_warnings>)

set(CMAKE_BUILD_RPATH ${LLVM_LIBRARY_DIR})
set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib;${LLVM_LIBRARY_DIR}")

# paged_attn_library(<name> SOURCES ... DEPENDS <tablegen targets> LINK <libraries>)
# One library per folder of lib/.
function(paged_attn_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LINK" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  target_link_libraries(${name} PUBLIC ${ARG_LINK} paged_attn_mlir)
endfunction()
