//! What Go answers to the same texts (its own test strings and the public documentation's examples), and properties.

use proptest::prelude::*;

use super::*;
use crate::{Bytes, Cores};

fn read(text: &str) -> Quantity {
    text.parse().unwrap()
}

/// Text, amount in nano-units, notation.
const READ: &[(&str, i128, Format)] = &[
    ("0", 0, Format::Decimal),
    ("0m", 0, Format::Decimal),
    ("0Ki", 0, Format::Binary),
    ("1", 1_000_000_000, Format::Decimal),
    ("0.1", 100_000_000, Format::Decimal),
    ("100m", 100_000_000, Format::Decimal),
    ("5n", 5, Format::Decimal),
    ("4u", 4_000, Format::Decimal),
    ("3m", 3_000_000, Format::Decimal),
    ("8k", 8_000 * UNIT, Format::Decimal),
    ("7M", 7_000_000 * UNIT, Format::Decimal),
    ("6G", 6_000_000_000 * UNIT, Format::Decimal),
    ("300.2T", 300_200_000_000_000 * UNIT, Format::Decimal),
    ("2.5P", 2_500_000_000_000_000 * UNIT, Format::Decimal),
    ("1E", 1_000_000_000_000_000_000 * UNIT, Format::Decimal),
    ("12E", 12_000_000_000_000_000_000 * UNIT, Format::Decimal),
    ("1.01E", 1_010_000_000_000_000_000 * UNIT, Format::Decimal),
    ("1Ki", 1024 * UNIT, Format::Binary),
    ("7Mi", (7 << 20) * UNIT, Format::Binary),
    ("1.5Gi", (3 << 29) * UNIT, Format::Binary),
    ("4Pi", (4 << 50) * UNIT, Format::Binary),
    ("1Ei", (1 << 60) * UNIT, Format::Binary),
    ("9007199254740993", 9_007_199_254_740_993 * UNIT, Format::Decimal),
    ("1e3", 1000 * UNIT, Format::Exponent),
    ("1E3", 1000 * UNIT, Format::Exponent),
    ("1E-3", 1_000_000, Format::Exponent),
    ("1.3E+6", 1_300_000 * UNIT, Format::Exponent),
    ("0.5e-2", 5_000_000, Format::Exponent),
    ("128974848", 128_974_848 * UNIT, Format::Decimal),
    ("129e6", 129_000_000 * UNIT, Format::Exponent),
    ("129M", 129_000_000 * UNIT, Format::Decimal),
    ("128974848000m", 128_974_848 * UNIT, Format::Decimal),
    ("123Mi", 128_974_848 * UNIT, Format::Binary),
    ("400m", 400_000_000, Format::Decimal),
    // what does not fit goes up, away from zero
    ("3.001n", 4, Format::Decimal),
    ("1.1E-9", 2, Format::Exponent),
    ("0.0000000001", 1, Format::Decimal),
    ("0.5e-9", 1, Format::Exponent),
    ("0.00000012345", 124, Format::Decimal),
    ("1e-4000", 1, Format::Exponent),
    ("0.000000000001Ki", 2, Format::Decimal),
    // and saturates
    ("9Ei", i64::MAX as i128 * UNIT, Format::Binary),
    ("9223372036854775807Ki", i64::MAX as i128 * UNIT, Format::Binary),
    ("200000000000000000000000000000", 10_i128.pow(38), Format::Decimal),
    ("1e400", 10_i128.pow(38), Format::Exponent),
    ("1e99999999999999999999", 10_i128.pow(38), Format::Exponent),
    // fractions of binary units are exact
    ("100.035Ki", 102_435_840_000_000, Format::Binary),
    ("0.025Ti", 27_487_790_694_400_000_000, Format::Binary),
    // unusual, but Kubernetes reads it
    (".001", 1_000_000, Format::Decimal),
    (".0001k", 100_000_000, Format::Decimal),
    ("1.", UNIT, Format::Decimal),
    ("1.G", 1_000_000_000 * UNIT, Format::Decimal),
    ("007", 7 * UNIT, Format::Decimal),
];

#[test]
fn texts_are_read_as_go_reads_them_with_either_sign() {
    for (text, nano, format) in READ {
        let plain = read(text);
        assert_eq!((plain.nano, plain.format), (*nano, *format), "{text}");
        assert_eq!(read(&format!("+{text}")).nano, *nano, "+{text}");
        let negative = read(&format!("-{text}"));
        assert_eq!((negative.nano, negative.format), (-nano, *format), "-{text}");
    }
}

#[test]
fn canonical_texts_are_gos() {
    let table = [
        ("1024Mi", "1Gi"),
        ("307200Ki", "300Mi"),
        ("1025024Mi", "1001Gi"),
        ("1.5Gi", "1536Mi"),
        ("1000M", "1G"),
        ("0.001T", "1G"),
        ("0.5", "500m"),
        ("1000u", "1m"),
        ("1.08", "1080m"),
        ("1080000000n", "1080m"),
        ("1234567M", "1234567M"),
        ("12E", "12E"),
        ("1000E", "1000E"),
        (".001e12", "1e9"),
        ("0.001e0", "1e-3"),
        ("1000e-12", "1e-9"),
        ("300e6", "300e6"),
        ("1e0", "1"),
        ("00", "0"),
        ("0Mi", "0"),
        (".001Ki", "1024m"),
        (".000001Ki", "1024u"),
        (".000000000001Ki", "2n"),
        ("0.5Ki", "512"),
        ("1.1Ki", "1126400m"),
        ("1025", "1025"),
    ];
    for (text, canonical) in table {
        assert_eq!(read(text).to_string(), canonical, "{text}");
        let negative = if canonical == "0" { canonical.into() } else { format!("-{canonical}") };
        assert_eq!(read(&format!("-{text}")).to_string(), negative, "-{text}");
    }
}

#[test]
fn what_is_not_a_quantity_is_refused_by_name_with_an_example() {
    let refused = [
        "", "-", "+", ".", "m", "Ki", "1.1.M", "1+1.0M", "0.1mi", "0.1am", "aoeu", ".5i", "1i", "-3.01i",
        "-3.01e-", "1e", "1e+", "1e1.5", " 1", "1 ", "1Ki3", "1K", "--1", "1_000", "\u{0661}", "1é", "NaN",
        "inf", "0x10",
    ];
    for text in refused {
        let refusal = text.parse::<Quantity>().unwrap_err().to_string();
        assert!(refusal.contains(&format!("{text:?}")) && refusal.contains("500m"), "{text}: {refusal}");
    }
    assert!("1".repeat(5000).parse::<Quantity>().is_ok());
    assert!("x".repeat(5000).parse::<Quantity>().unwrap_err().to_string().len() < 300);
}

#[test]
fn whole_and_milli_values_round_away_from_zero() {
    for (text, value, milli) in [
        ("9.01", 10, 9010),
        ("-9.01", -10, -9010),
        ("1u", 1, 1),
        ("500m", 1, 500),
        ("-1n", -1, -1),
        ("2", 2, 2000),
    ] {
        assert_eq!((read(text).value(), read(text).milli_value()), (value, milli), "{text}");
    }
}

#[test]
fn constructors_write_what_a_patch_needs() {
    assert_eq!(Quantity::from_millicores(250).to_string(), "250m");
    assert_eq!(Quantity::from_millicores(2000).to_string(), "2");
    assert_eq!(Quantity::from_bytes(Bytes(3 << 29)).to_string(), "1536Mi");
    assert_eq!(Quantity::from_bytes(Bytes(u64::MAX)).value(), i128::from(u64::MAX));
    assert_eq!(Quantity::from_cores(Cores(0.1)), Some(read("100m")));
    assert_eq!(Quantity::from_cores(Cores(f64::NAN)), None);
    assert_eq!(Quantity::from_cores(Cores(f64::INFINITY)), None);
    assert_eq!(Quantity::from_cores(Cores(1e300)), Some(Quantity::MAX));
    assert_eq!(Cores::from(read("1500m")), Cores(1.5));
    assert_eq!(Bytes::from(read("1.5Gi")), Bytes(3 << 29));
    assert_eq!(Bytes::from(read("-1")), Bytes(0));
}

#[test]
fn json_is_a_string_and_bare_numbers_are_accepted() {
    assert_eq!(serde_json::to_string(&read("1024Mi")).unwrap(), "\"1Gi\"");
    for (json, text) in
        [("2", "2"), ("0.5", "500m"), ("-1", "-1"), ("1e3", "1k"), ("\" 1 \"", "1"), ("\"12E\"", "12E")]
    {
        assert_eq!(serde_json::from_str::<Quantity>(json).unwrap().to_string(), text, "{json}");
    }
    for json in ["null", "true", "[]", "\"\"", "\"1mi\""] {
        assert!(serde_json::from_str::<Quantity>(json).is_err(), "{json}");
    }
}

fn amounts() -> impl Strategy<Value = Quantity> {
    let formats = prop_oneof![Just(Format::Decimal), Just(Format::Exponent), Just(Format::Binary)];
    let nano = prop_oneof![
        -parse::LARGEST_DECIMAL..=parse::LARGEST_DECIMAL,
        any::<i64>().prop_map(i128::from),
        (any::<i16>(), 0_u32..6).prop_map(|(n, e)| i128::from(n) * UNIT * 1024_i128.pow(e)),
        (any::<i16>(), 0_u32..9).prop_map(|(n, e)| i128::from(n) * 1000_i128.pow(e)),
    ];
    // binary notation ends at 2^63 - 1; amounts beyond it exist in decimal only
    let bound = i128::from(i64::MAX) * UNIT;
    (nano, formats).prop_map(move |(nano, format)| match format {
        Format::Binary => Quantity { nano: nano.clamp(-bound, bound), format },
        format => Quantity { nano, format },
    })
}

proptest! {
    #[test]
    fn what_is_written_reads_back_to_the_same_amount_and_text(quantity in amounts()) {
        let text = quantity.to_string();
        let back = read(&text);
        prop_assert_eq!(back, quantity);
        prop_assert_eq!(back.with_format(quantity.format()).to_string(), text);
    }

    #[test]
    fn order_is_the_order_of_amounts(a in amounts(), b in amounts()) {
        prop_assert_eq!(a.cmp(&b), a.nano_value().cmp(&b.nano_value()));
        prop_assert_eq!(a == b, read(&a.to_string()) == read(&b.to_string()));
    }

    #[test]
    fn no_text_makes_it_panic(text in "\\PC{0,40}") {
        let _ = text.parse::<Quantity>();
    }

    #[test]
    fn no_text_that_looks_like_one_makes_it_panic(text in "[+-]?[0-9]{0,50}\\.?[0-9]{0,50}[eEinumkKMGTP]{0,2}[+-]?[0-9]{0,25}") {
        if let Ok(quantity) = text.parse::<Quantity>() {
            prop_assert_eq!(read(&quantity.to_string()), quantity);
        }
    }

    #[test]
    fn a_fraction_of_a_binary_unit_is_never_rounded_down(whole in 0_u64..1000, fraction in "[0-9]{1,30}") {
        let quantity = read(&format!("{whole}.{fraction}Ki"));
        let digits: String = fraction.chars().take(15).collect();
        let at_least = (i128::from(whole) * 10_i128.pow(15) + format!("{digits:0<15}").parse::<i128>().unwrap()) * 1024;
        prop_assert!(quantity.nano_value() * 1_000_000 >= at_least);
        prop_assert!(quantity.nano_value() * 1_000_000 < at_least + 1024 + 1_000_000);
    }
}
