/* SPDX-License-Identifier: GPL-2.0 */

/* How many pages a folio has, which every other series of kernels keeps elsewhere. */
#ifndef BPF60_FOLIO_BPF_H
#define BPF60_FOLIO_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_core_read.h>

enum pageflags { PG_head = 1 };

/* Before 53fbef56e07d ("mm: introduce memdesc_flags_t", 6.18) the flags were a plain number. */
struct folio___flags {
	unsigned long flags;
} __attribute__((preserve_access_index));

typedef struct {
	unsigned long f;
} memdesc_flags_t___folio;

struct folio___memdesc {
	memdesc_flags_t___folio flags;
} __attribute__((preserve_access_index));

/* Before ebc1baf5c9b4 ("mm: free up a word in the first tail page", 6.6) the order had a byte. */
struct folio___order_byte {
	unsigned char _folio_order;
} __attribute__((preserve_access_index));

struct folio___order_bits {
	unsigned long _flags_1; /* the order is its lowest byte */
} __attribute__((preserve_access_index));

static __always_inline __u64 folio_flags(struct folio *folio)
{
	if (bpf_core_field_exists(struct folio___memdesc, flags.f))
		return ((struct folio___memdesc *)folio)->flags.f;
	if (bpf_core_field_exists(struct folio___flags, flags))
		return ((struct folio___flags *)folio)->flags;
	return 0;
}

/* folio_pages is 1 also where nothing says otherwise: in kernels that have no folios. */
static __always_inline __u64 folio_pages(struct folio *folio)
{
	__u64 order = 0;

	if (!bpf_core_enum_value_exists(enum pageflags, PG_head) ||
	    !(folio_flags(folio) & (1ULL << bpf_core_enum_value(enum pageflags, PG_head))))
		return 1;
	if (bpf_core_field_exists(struct folio___order_byte, _folio_order))
		order = ((struct folio___order_byte *)folio)->_folio_order;
	else if (bpf_core_field_exists(struct folio___order_bits, _flags_1))
		order = ((struct folio___order_bits *)folio)->_flags_1 & 0xff;
	return order < 20 ? 1ULL << order : 1;
}

#endif
