# The dashboard page becomes part of the program. C17 can't embed a file, so healthd/page.html is written into
# healthd/page.c.in as bytes, together with what the Content-Security-Policy must say: the SHA-256 of the
# page's style and of its script, in base64 (CSP Level 3, 2.3.1). Done when the build is configured, and again
# when one of the two has changed.

# The SHA-256 of TEXT in base64 as OUT.
function(sha256_base64 text out)
    set(alphabet ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/)
    string(SHA256 digest "${text}")
    set(base64 "")
    foreach(at RANGE 0 60 6) # 3 bytes, 4 letters; the last 2 bytes are filled up with a zero
        string(SUBSTRING "${digest}00" ${at} 6 bytes)
        foreach(shift 18 12 6 0)
            math(EXPR letter "(0x${bytes} >> ${shift}) & 63")
            string(SUBSTRING ${alphabet} ${letter} 1 letter)
            string(APPEND base64 ${letter})
        endforeach()
    endforeach()
    string(SUBSTRING ${base64} 0 43 base64)
    set(${out} "${base64}=" PARENT_SCOPE)
endfunction()

# What stands in TEXT between <TAG> and </TAG>, as OUT.
function(between_tags text tag out)
    string(FIND "${text}" "<${tag}>" begin)
    string(FIND "${text}" "</${tag}>" end)
    string(FIND "${text}" "<${tag}>" last REVERSE)
    if(begin EQUAL -1 OR end LESS begin OR NOT begin EQUAL last)
        message(FATAL_ERROR "healthd/page.html: one <${tag}> without attributes is expected")
    endif()
    string(LENGTH "<${tag}>" length)
    math(EXPR begin "${begin} + ${length}")
    math(EXPR length "${end} - ${begin}")
    string(SUBSTRING "${text}" ${begin} ${length} content)
    set(${out} "${content}" PARENT_SCOPE)
endfunction()

# Adds the page to the library TARGET.
function(add_page target)
    set(page ${CMAKE_SOURCE_DIR}/healthd/page.html)
    set(source ${CMAKE_BINARY_DIR}/healthd/page.c)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${page})
    file(READ ${page} text)
    between_tags("${text}" style style)
    between_tags("${text}" script script)
    sha256_base64("${style}" PAGE_STYLE_SHA256)
    sha256_base64("${script}" PAGE_SCRIPT_SHA256)
    file(READ ${page} PAGE_BYTES HEX)
    string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," PAGE_BYTES "${PAGE_BYTES}")
    configure_file(${CMAKE_SOURCE_DIR}/healthd/page.c.in ${source} @ONLY)
    target_sources(${target} PRIVATE ${source})
endfunction()
