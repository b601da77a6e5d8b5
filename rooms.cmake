# A room is a folder that is one static library. It sees the headers of the rooms that it names, and of no others: an include of another room's does not build.
#
#     mm_room(FOLDER [SEES FOLDER...] [LIBRARIES LIBRARY...] [WITHOUT FILE...])
#
# What a room exports stands under its full name below a folder of its own in the build tree, so that each include says where it leads.
function(mm_room folder)
  cmake_parse_arguments(PARSE_ARGV 1 ROOM "" "" "SEES;LIBRARIES;WITHOUT")
  string(REPLACE "/" "_" name ${folder})
  file(GLOB sources CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/${folder}/*.c)
  list(TRANSFORM ROOM_WITHOUT PREPEND ${PROJECT_SOURCE_DIR}/${folder}/)
  list(REMOVE_ITEM sources ${ROOM_WITHOUT})
  set(door ${CMAKE_BINARY_DIR}/rooms/${name})
  get_filename_component(parent ${door}/${folder} DIRECTORY)
  file(MAKE_DIRECTORY ${parent})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${folder} ${door}/${folder} SYMBOLIC)
  add_library(mm_${name} STATIC ${sources})
  set_property(GLOBAL APPEND PROPERTY MM_ROOM_LIBRARIES mm_${name})
  target_include_directories(mm_${name} PUBLIC ${door})
  list(JOIN ROOM_SEES " " sees)
  list(TRANSFORM ROOM_SEES REPLACE "/" "_")
  list(TRANSFORM ROOM_SEES PREPEND mm_)
  target_link_libraries(mm_${name} PRIVATE ${ROOM_SEES} ${ROOM_LIBRARIES})
  set_property(GLOBAL APPEND_STRING PROPERTY MM_ROOMS "${folder}: ${sees}\n")
endfunction()
