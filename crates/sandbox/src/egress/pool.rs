//! The addresses of the links.
//!
//! A platform takes one block of 4096 private addresses, two for each link, out of 10.213.0.0/16, or, where this box
//! routes all of that elsewhere, out of 172.29.0.0/16 or 192.168.192.0/18.

use std::fmt;
use std::net::Ipv4Addr;

/// The blocks that may be taken are of this length.
const LENGTH: u8 = 20;
const RANGES: [Block; 3] = [
    Block { first: Ipv4Addr::new(10, 213, 0, 0), length: 16 },
    Block { first: Ipv4Addr::new(172, 29, 0, 0), length: 16 },
    Block { first: Ipv4Addr::new(192, 168, 192, 0), length: 18 },
];

/// A block of addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Block {
    pub(super) first: Ipv4Addr,
    pub(super) length: u8,
}

/// The addresses of one link's two ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pair {
    pub(super) outside: Ipv4Addr,
    pub(super) inside: Ipv4Addr,
}

impl Pair {
    /// Two addresses are a network of their own.
    pub(super) const LENGTH: u8 = 31;
}

impl Block {
    /// How many links a block has.
    pub(super) const LINKS: u32 = 1 << (Pair::LENGTH - LENGTH);

    /// A block that nothing routed overlaps. Platforms on one box begin to look in different places.
    pub(super) fn choose(tag: &str, routed: &[Self]) -> Option<Self> {
        let start = tag.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(u32::from(byte)));
        RANGES.into_iter().find_map(|range| {
            let blocks = 1 << (LENGTH - range.length);
            (0..blocks).find_map(|step| {
                let number = start.wrapping_add(step) % blocks;
                let first = Ipv4Addr::from(u32::from(range.first) + (number << (32 - LENGTH)));
                let block = Self { first, length: LENGTH };
                // A default route leads everywhere, and here too until there is a link.
                let taken = routed.iter().any(|routed| routed.length > 0 && routed.overlaps(block));
                (!taken).then_some(block)
            })
        })
    }

    fn overlaps(self, other: Self) -> bool {
        let shift = 32 - u32::from(self.length.min(other.length));
        let high = |address: Ipv4Addr| u32::from(address).checked_shr(shift).unwrap_or_default();
        high(self.first) == high(other.first)
    }

    pub(super) fn pair(self, number: u32) -> Pair {
        let outside = u32::from(self.first) + 2 * number;
        Pair { outside: outside.into(), inside: (outside + 1).into() }
    }
}

impl fmt::Display for Block {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.first, self.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(text: &str) -> Block {
        let (first, length) = text.split_once('/').unwrap();
        Block { first: first.parse().unwrap(), length: length.parse().unwrap() }
    }

    #[test]
    fn a_block_overlaps_nothing_that_is_routed() {
        let routed = ["0.0.0.0/0", "192.0.2.0/24", "10.213.0.0/17", "10.213.128.0/18", "10.213.200.7/32"].map(block);
        for tag in ["a", "b", "zz9", "0"] {
            let chosen = Block::choose(tag, &routed).unwrap().to_string();
            assert!(["10.213.208.0/20", "10.213.224.0/20", "10.213.240.0/20"].contains(&&*chosen), "{chosen}");
        }
        let chosen = Block::choose("a", &["10.0.0.0/8"].map(block)).unwrap().to_string();
        assert!(chosen.starts_with("172.29."), "{chosen}");
        let chosen = Block::choose("a", &["10.0.0.0/8", "172.16.0.0/12"].map(block)).unwrap().to_string();
        assert!(chosen.starts_with("192.168."), "{chosen}");
        assert_eq!(Block::choose("a", &["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"].map(block)), None);
    }

    #[test]
    fn platforms_on_one_box_take_different_blocks() {
        assert_ne!(Block::choose("a", &[]), Block::choose("b", &[]));
    }

    #[test]
    fn links_share_no_address() {
        let block = block("10.213.16.0/20");
        let pair = block.pair(0);
        assert_eq!((pair.outside, pair.inside), (Ipv4Addr::new(10, 213, 16, 0), Ipv4Addr::new(10, 213, 16, 1)));
        let last = block.pair(Block::LINKS - 1);
        assert_eq!(last.inside, Ipv4Addr::new(10, 213, 31, 255));
    }
}
