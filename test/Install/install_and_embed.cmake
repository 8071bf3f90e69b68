# cmake -DBUILD_DIR= -DSOURCE_DIR= -DWORK_DIR= -DCXX= [-DLAUNCHER=] -P this
set(prefix ${WORK_DIR}/prefix)
set(build ${WORK_DIR}/embed-build)
file(REMOVE_RECURSE ${prefix} ${build})

# must(<command>...): runs it and stops when it fails.
function(must)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "exit status ${status}: ${ARGN}")
  endif()
endfunction()

must(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${prefix})
must(${CMAKE_COMMAND} -S ${SOURCE_DIR} -B ${build} -G Ninja
  -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}
  -DCMAKE_PREFIX_PATH=${prefix})
must(${CMAKE_COMMAND} --build ${build} -j 1)
must(${build}/embed)
must(${prefix}/bin/paged-attn-opt --version)
