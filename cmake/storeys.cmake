# add_storey(NAME [LOWER...]): a static library of every .c file in NAME/ (main.c is the program's own), which may
# use the storeys named LOWER. Two things make the order of storeys binding:
#   - every header is compiled alone (CMAKE_VERIFY_INTERFACE_HEADER_SETS, target all_verify_interface_header_sets);
#   - NAME-closed, a program that links the whole storey and only what is below it: an upward call does not link.
# Upward includes are refused by tests/checks/storeys, which reads the sources.
set(CMAKE_VERIFY_INTERFACE_HEADER_SETS ON)

function(add_storey name)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${name}/*.c)
    file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${name}/*.h)
    list(REMOVE_ITEM sources ${CMAKE_SOURCE_DIR}/${name}/main.c)
    add_library(${name} STATIC ${sources})
    target_sources(${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${CMAKE_SOURCE_DIR} FILES ${headers})
    target_link_libraries(${name} PUBLIC ${ARGN})

    set(probe ${CMAKE_BINARY_DIR}/${name}-closed.c)
    file(WRITE ${probe} "int main(void)\n{\n    return 0;\n}\n")
    add_executable(${name}-closed ${probe})
    target_link_libraries(${name}-closed PRIVATE $<LINK_LIBRARY:WHOLE_ARCHIVE,${name}>)
endfunction()
