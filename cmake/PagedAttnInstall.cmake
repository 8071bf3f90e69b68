# `cmake --install`: the libraries of the compiler with their headers and td
# files as find_package(PagedAttn), the tools and the plugin.
include(CMakePackageConfigHelpers)

# paged_attn_collect(<target> <out>): the target and what it links of ours.
function(paged_attn_collect target out)
  set(found ${target})
  get_target_property(linked ${target} LINK_LIBRARIES)
  foreach(library ${linked})
    if(library MATCHES "^PagedAttn" AND TARGET ${library})
      paged_attn_collect(${library} below)
      list(APPEND found ${below})
    endif()
  endforeach()
  list(REMOVE_DUPLICATES found)
  set(${out} ${found} PARENT_SCOPE)
endfunction()

# What an embedding compiler links: registration and everything below it.
paged_attn_collect(PagedAttnPipelines PAGED_ATTN_INSTALL_LIBRARIES)
list(APPEND PAGED_ATTN_INSTALL_LIBRARIES paged_attn_mlir)
set(_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/PagedAttn)

install(TARGETS ${PAGED_ATTN_INSTALL_LIBRARIES} EXPORT PagedAttnTargets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT PagedAttnTargets NAMESPACE PagedAttn:: DESTINATION ${_package_dir})

# Sources and generated files share the include root. Folders of libraries that
# only our tools link stay out.
install(DIRECTORY ${PROJECT_SOURCE_DIR}/dialect/paged_attn ${PROJECT_BINARY_DIR}/dialect/paged_attn
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h" PATTERN "*.td" PATTERN "*.inc"
  PATTERN "CMakeFiles" EXCLUDE PATTERN "Oracle" EXCLUDE PATTERN "Kernel" EXCLUDE
  PATTERN "Check" EXCLUDE
  PATTERN "Target" EXCLUDE)

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/PagedAttnConfig.cmake.in
  ${PROJECT_BINARY_DIR}/cmake/PagedAttnConfig.cmake INSTALL_DESTINATION ${_package_dir}
  PATH_VARS CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/cmake/PagedAttnConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/cmake/PagedAttnConfig.cmake
  ${PROJECT_BINARY_DIR}/cmake/PagedAttnConfigVersion.cmake DESTINATION ${_package_dir})

foreach(tool opt compile run lsp-server reduce)
  if(TARGET paged-attn-${tool})
    install(TARGETS paged-attn-${tool} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  endif()
endforeach()
install(TARGETS PagedAttnPlugin LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
