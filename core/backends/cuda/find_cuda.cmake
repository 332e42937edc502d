# What the CUDA backend and its tests on a host emulator are compiled with: the toolkit and cuDNN. VRETNET_CUDA says whether
# headers that are new enough are there; where not, one line says what was found and what is needed, and all else is built.
set(VRETNET_OLDEST_CUDA 12.8)  # the first that compiles for sm_100
set(VRETNET_OLDEST_CUDNN 9)
set(VRETNET_CUDA OFF)

find_package(CUDAToolkit QUIET)
set(needed "CUDA ${VRETNET_OLDEST_CUDA} or later and cuDNN ${VRETNET_OLDEST_CUDNN} are needed: the CUDA backend and its tests \
on an emulator are not built")
if(NOT CUDAToolkit_FOUND)
  message(STATUS "****  no CUDA toolkit; ${needed}  ****")
  return()
endif()
if(CUDAToolkit_VERSION VERSION_LESS VRETNET_OLDEST_CUDA)
  message(STATUS "****  the CUDA toolkit in ${CUDAToolkit_BIN_DIR} is ${CUDAToolkit_VERSION}; ${needed}  ****")
  return()
endif()
find_path(CUDNN_INCLUDE cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
if(NOT CUDNN_INCLUDE)
  message(STATUS "****  CUDA ${CUDAToolkit_VERSION} without cuDNN's header cudnn.h; ${needed}  ****")
  return()
endif()
if(EXISTS ${CUDNN_INCLUDE}/cudnn_version.h)
  file(STRINGS ${CUDNN_INCLUDE}/cudnn_version.h cudnn_major REGEX "define CUDNN_MAJOR")
  string(REGEX REPLACE "[^0-9]" "" cudnn_major "${cudnn_major}")
else()
  set(cudnn_major 7)  # or earlier: its version was in cudnn.h
endif()
if(cudnn_major VERSION_LESS VRETNET_OLDEST_CUDNN)
  message(STATUS "****  cuDNN in ${CUDNN_INCLUDE} is ${cudnn_major}; ${needed}  ****")
  return()
endif()
set(VRETNET_CUDA ON)
