//! Prompts, and the answers that follow from them, so that each result can be checked without a record of it.

/// A prompt that asks for an answer of `answer_bytes` and has itself `prompt_bytes` or a little more.
pub(crate) fn prompt(label: &str, answer_bytes: usize, prompt_bytes: usize) -> String {
    let mut prompt = format!("{label} wants {answer_bytes} bytes. ");
    while prompt.len() < prompt_bytes {
        prompt.push_str("Why is the sky blue? ");
    }
    prompt
}

/// The only right answer to a prompt.
pub(crate) fn answer(prompt: &str) -> String {
    let bytes = prompt.split(' ').nth(2).and_then(|number| number.parse().ok()).unwrap_or(16);
    // FNV-1a: it must be the same in each version.
    let seed = prompt
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut random = fastrand::Rng::with_seed(seed);
    let mut answer = String::new();
    while answer.len() < bytes {
        answer.push_str(&format!("{:016x}", random.u64(..)));
    }
    answer
}
