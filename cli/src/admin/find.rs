use foreman_client::BoxInfo;

use crate::exit::Failure;

/// The daemon of this name, or else the one whose id begins with it.
pub(super) fn find<'a>(boxes: &'a [BoxInfo], wanted: &str) -> Result<&'a BoxInfo, Failure> {
    let named: Vec<_> = boxes.iter().filter(|one| one.name == wanted).collect();
    let found = if named.is_empty() { of_id(boxes, wanted) } else { named };
    match found[..] {
        [one] => Ok(one),
        [] => Err(Failure::Usage(format!("no box {wanted}; there {}", list(boxes.iter())))),
        _ => Err(Failure::Usage(format!(
            "{wanted} is more than one box, give the beginning of an id; there {}",
            list(found.into_iter())
        ))),
    }
}

fn of_id<'a>(boxes: &'a [BoxInfo], prefix: &str) -> Vec<&'a BoxInfo> {
    boxes.iter().filter(|one| !prefix.is_empty() && one.id.starts_with(prefix)).collect()
}

fn list<'a>(boxes: impl Iterator<Item = &'a BoxInfo>) -> String {
    let names: Vec<_> = boxes.map(|one| format!("{} ({})", one.name, one.id)).collect();
    match names.len() {
        0 => "are none".to_owned(),
        1 => format!("is {}", names[0]),
        _ => format!("are {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn box_is_found_by_name_or_beginning_of_id() {
        let boxes = [BoxInfo::new("a1", "gpu"), BoxInfo::new("a2", "gpu"), BoxInfo::new("b1", "a")];
        let message = |wanted: &str| match find(&boxes, wanted) {
            Ok(one) => one.id.clone(),
            Err(Failure::Usage(message)) => message,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(["a", "a1", "b"].map(message), ["b1", "a1", "b1"]);
        assert_eq!(
            message("gpu"),
            "gpu is more than one box, give the beginning of an id; there are gpu (a1), gpu (a2)"
        );
        for unknown in ["", "c", "gp", "A1"] {
            let expected = format!("no box {unknown}; there are gpu (a1), gpu (a2), a (b1)");
            assert_eq!(message(unknown), expected);
        }
    }
}
