/* Whether this build watches memory (-fsanitize=address), and how to tell it what is dead. */
#ifndef SEDGE_BASE_SANITIZE_H
#define SEDGE_BASE_SANITIZE_H

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

#ifdef SANITIZED
#include <sanitizer/asan_interface.h>
#endif

#endif
