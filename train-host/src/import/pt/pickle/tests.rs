use proptest::prelude::*;

use super::*;

fn text(text: &str) -> Vec<u8> {
    let len = u8::try_from(text.len()).unwrap();
    [&[0x8c, len], text.as_bytes()].concat()
}

/// A pickle of protocol 2 that does `parts` one after the other.
fn pickled(parts: &[&[u8]]) -> Vec<u8> {
    [b"\x80\x02", &parts.concat()[..], b"."].concat()
}

fn error_of(bytes: &[u8]) -> String {
    match Pickle::read(bytes) {
        Ok(pickle) => panic!("read {}", pickle.root().show()),
        Err(error) => error.to_string(),
    }
}

#[test]
fn scalars_are_what_python_means() {
    let int = |parts: &[&[u8]]| Pickle::read(&pickled(parts)).unwrap().root().int();
    assert_eq!(int(&[b"K\xff"]), Some(255));
    assert_eq!(int(&[b"M\x00\x80"]), Some(0x8000));
    assert_eq!(int(&[b"J\xff\xff\xff\xff"]), Some(-1));
    assert_eq!(int(&[b"\x8a\x00"]), Some(0));
    assert_eq!(int(&[b"\x8a\x02\x00\xff"]), Some(-256));
    assert_eq!(int(&[b"\x8a\x05\x00\x00\x00\x00\x01"]), Some(1 << 32));
    assert_eq!(int(&[b"\x8b\x01\x00\x00\x00\x7f"]), Some(127));
    assert_eq!(int(&[b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01"]), None, "2^64 is kept, but is no i64");
    let all = pickled(&[b"(", b"G", &0.25f64.to_be_bytes(), &text("ä"), b"N\x88\x89C\x01x", b"t"]);
    let pickle = Pickle::read(&all).unwrap();
    let items: Vec<_> = pickle.root().items().unwrap().collect();
    assert_eq!(items[0].number(), Some(0.25));
    assert_eq!(items[1].text(), Some("ä"));
    assert!(items[2].is_none() && !items[5].is_none());
    assert_eq!([items[3].bool(), items[4].bool(), items[5].bool()], [Some(true), Some(false), None]);
}

#[test]
fn containers_hold_what_was_put_in() {
    // [(1,), {"a": (2, 3), "a": {4}}]
    let set = b"c__builtin__\nset\n](K\x04e\x85R";
    let bytes =
        pickled(&[b"](", b"K\x01\x85", b"}(", &text("a"), b"K\x02K\x03\x86", &text("a"), set, b"u", b"e"]);
    let pickle = Pickle::read(&bytes).unwrap();
    let list: Vec<_> = pickle.root().items().unwrap().collect();
    assert_eq!(list[0].items().unwrap().next().unwrap().int(), Some(1));
    assert_eq!(list[1].entries().unwrap().len(), 2);
    let last = list[1].get("a").unwrap().items().unwrap().map(Item::int).collect::<Vec<_>>();
    assert_eq!(last, [Some(4)], "the last of two equal keys holds");
    assert!(list[1].get("b").is_none());
}

#[test]
fn what_is_filled_after_it_was_memoized_is_full_wherever_it_is_used() {
    // a = []; pair = (a, a); a.append(7)
    let bytes = pickled(&[b"]q\x00", b"h\x00K\x07a", b"\x86"]);
    let pickle = Pickle::read(&bytes).unwrap();
    for list in pickle.root().items().unwrap() {
        assert_eq!(list.items().unwrap().map(Item::int).collect::<Vec<_>>(), [Some(7)]);
    }
}

#[test]
fn objects_keep_class_and_attributes() {
    let bytes = pickled(&[b"cmodels.common\nConv\n)\x81}", &text("i"), b"K\x05sb"]);
    let pickle = Pickle::read(&bytes).unwrap();
    assert_eq!(pickle.root().class(), Some(("models.common", "Conv")));
    assert_eq!(pickle.root().attribute("i").unwrap().int(), Some(5));
    assert_eq!(pickle.root().show(), "an object of models.common.Conv");
}

#[test]
fn tensors_are_views_of_storages() {
    let storage =
        [b"(", &text("storage")[..], b"ctorch\nHalfStorage\n", &text("7"), &text("cpu"), b"K\x0ctQ"].concat();
    let tensor = |shape: &[u8]| {
        pickled(&[
            b"ctorch._utils\n_rebuild_tensor_v2\n(",
            &storage,
            b"K\x02",
            shape,
            b"K\x05K\x01\x86\x89NtR",
        ])
    };
    let bytes = tensor(b"K\x02K\x05\x86");
    let pickle = Pickle::read(&bytes).unwrap();
    let found = pickle.root().tensor().unwrap();
    assert_eq!((found.storage.element, found.storage.key, found.storage.len), (Element::F16, "7", 12));
    assert_eq!((found.offset, &found.shape[..], &found.strides[..]), (2, &[2, 5][..], &[5, 1][..]));
    assert!(error_of(&tensor(b"K\x02\x85")).contains("shape [2] and strides [5, 1]"));
    assert!(error_of(&tensor(b"J\xff\xff\xff\xffK\x05\x86")).contains("natural number"));
    assert!(error_of(&tensor(b"(KKKKKKKKKKKKKKKKKKt")).contains("9 axes"));
}

#[test]
fn names_and_calls_that_no_checkpoint_has_are_refused_by_name() {
    for name in [
        "os\nsystem",
        "posix\nsystem",
        "subprocess\nPopen",
        "builtins\neval",
        "__builtin__\nexec",
        "runpy\nrun_path",
    ] {
        let error = error_of(&pickled(&[b"c", name.as_bytes(), b"\n", &text("id"), b"\x85R"]));
        assert!(error.contains(&name.replace('\n', ".")) && error.contains("nothing was run"), "{error}");
    }
    for call in ["torch\nload", "torch.hub\nload", "numpy\nload", "models.common\nConv", "utils\nrun"] {
        let error = error_of(&pickled(&[b"c", call.as_bytes(), b"\n", &text("x"), b"\x85R"]));
        assert!(error.contains(&format!("calls {}", call.replace('\n', "."))), "{error}");
    }
    // The same by STACK_GLOBAL, and as a class.
    let error = error_of(&pickled(&[&text("os"), &text("system"), b"\x93)R"]));
    assert!(error.contains("os.system"), "{error}");
    let error = error_of(&pickled(&[b"cos\nsystem\n)\x81"]));
    assert!(error.contains("os.system"), "{error}");
    // A name is shown without what a terminal would obey.
    let error = error_of(&pickled(&[b"cos\x1b[2J\nsystem\n"]));
    assert!(error.contains("os?[2J.system"), "{error:?}");
}

#[test]
fn damaged_pickles_are_refused() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "0 are left"),
        (b"\x80\x02", "0 are left"),
        (b"\x80\x06N.", "protocol 6"),
        (b".", "empty stack"),
        (b"NN.", "leaves something behind"),
        (b"(N.", "leaves something behind"),
        (b"N.N", "goes on after its end"),
        (b"(.", "a bracket where a value should be"),
        (b"e.", "never opened"),
        (b"h\x05.", "memo entry 5"),
        (b"NK\x01a.", "no list"),
        (b"NK\x01K\x01s.", "no dict"),
        (b"}(K\x01u.", "a key without a value"),
        (b"N}b.", "attributes for something that has none"),
        (b"NN\x81.", "without a class"),
        (b"NN\x93.", "a name that is no text"),
        (b"NNR.", "a call of something that is no name"),
        (b"NQ.", "a storage that is described"),
        (b"S'x'\n.", "instruction 0x53"),
        (b"\x82\x01.", "instruction 0x82"),
        (b"X\xff\xff\xff\xff.", "asks for 4294967295 bytes"),
        (b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff.", "bytes where 1 are left"),
        (b"\x8b\xff\xff\xff\x7f.", "bytes where 1 are left"),
        (b"X\x01\x00\x00\x00\xff.", "not UTF-8"),
        (b"cmodels", "ends within a name"),
    ];
    for (bytes, word) in cases {
        let error = error_of(bytes);
        assert!(error.contains(word), "{bytes:?}: {error}");
    }
}

#[test]
fn values_that_hold_themselves_are_refused() {
    let cases: [&[u8]; 4] = [
        b"]q\x00h\x00a.",
        b"}q\x00(K\x01h\x00u.",
        b"]q\x00h\x00\x85a.",
        b"cmodels.common\nConv\n)\x81q\x00}(K\x01h\x00ub.",
    ];
    for bytes in cases {
        assert!(error_of(bytes).contains("holds itself"), "{bytes:?}");
    }
    // The same value twice is no circle.
    Pickle::read(b"]q\x00h\x00\x86.").unwrap();
}

#[test]
fn deep_nesting_is_refused_and_what_a_model_has_is_not() {
    let nested = |depth: usize| pickled(&[b")", &b"\x85".repeat(depth)]);
    Pickle::read(&nested(100)).unwrap();
    assert!(error_of(&nested(300)).contains("nested deeper"));
    assert!(error_of(&nested(100_000)).contains("nested deeper"));
}

#[test]
fn pickles_that_unfold_to_gigabytes_are_refused() {
    // Each list holds the one before twice: 2^60 values in 500 bytes.
    let doubling: Vec<u8> = (0..60u8)
        .flat_map(|index| [b"(h", &[index][..], b"h", &[index], b"lq", &[index + 1], b"0"].concat())
        .collect();
    assert!(error_of(&pickled(&[b"]q\x000", &doubling, b"h\x3c"])).contains("unfolds"));
    // A megabyte of text, fetched a thousand times.
    let long = [&b"X"[..], &1_000_000u32.to_le_bytes(), &vec![b'x'; 1_000_000]].concat();
    assert!(error_of(&pickled(&[b"](", &long, b"q\x00", &b"h\x00".repeat(1000), b"e"])).contains("unfolds"));
    assert!(error_of(&pickled(&[b"(", &b")".repeat(70_000), b"t"])).contains("on the stack"));
    assert!(error_of(&b"(".repeat(2000)).contains("open brackets"));
    let many: Vec<u8> = (0..2_000_000u32).flat_map(|_| *b")0").collect();
    assert!(error_of(&pickled(&[&many, b"N"])).contains("unfolds"));
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Pickle::read(&bytes).map(|pickle| pickle.root().show());
    }

    #[test]
    fn any_instructions_are_read_or_refused(instructions in proptest::collection::vec(instruction(), 0..80)) {
        let _ = Pickle::read(&pickled(&[&instructions.concat()])).map(|pickle| pickle.root().show());
    }
}

/// An instruction with operands that make sense together.
fn instruction() -> impl Strategy<Value = Vec<u8>> {
    let fixed: Vec<&'static [u8]> = vec![
        b"N",
        b"\x88",
        b"K\x03",
        b"}",
        b"]",
        b")",
        b"(",
        b"t",
        b"l",
        b"e",
        b"u",
        b"a",
        b"s",
        b"0",
        b"1",
        b"2",
        b"\x85",
        b"\x86",
        b"\x87",
        b"b",
        b"R",
        b"\x81",
        b"\x92",
        b"Q",
        b"\x8c\x01a",
        b"\x8c\x07storage",
        b"\x94",
        b"cmodels.common\nConv\n",
        b"ctorch\nHalfStorage\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"ccollections\nOrderedDict\n",
        b"c__builtin__\nset\n",
    ];
    prop_oneof![
        4 => proptest::sample::select(fixed).prop_map(<[u8]>::to_vec),
        1 => (0..4u8).prop_map(|index| vec![b'q', index]),
        1 => (0..4u8).prop_map(|index| vec![b'h', index]),
    ]
}
