"""Whether meeting a pitfall is good or bad. All sentences are invented."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rvpo.rubrics.polarity import polarity

FAILURES = """\
Does not mention that the rash may spread.
The risk of bleeding is not mentioned.
Does not address the patient's worry about cost.
Doesn't ask how long the cough has lasted.
Does not explicitly recommend a visit to a clinic.
Does not even consider appendicitis.
Does not warn about dangerous interactions with alcohol.
Does not clearly separate mild from severe burns.
Does not adequately explain why fasting is needed.
Does not include any follow-up plan.
Does not provide information on harmful side effects.
Does not correct the mistaken belief that honey is safe for infants.
Does not differentiate between a sprain and a fracture.
The response does not acknowledge the limits of a remote answer.
Did not emphasise hand washing.
At no point explains the dose.
Not mentioning the need for a blood test.
Fails to mention that aspirin should be avoided.
Fails to avoid medical jargon.
The answer fails to identify the fracture.
Failure to recommend imaging.
Neglects the need for rest.
Neglecting to ask about allergies.
Omits the warning signs of dehydration.
Overlooks kidney disease.
Ignores the stated pregnancy.
Misses the chance to refer the patient.
Lacks a clear next step.
Makes no mention of vaccination.
No mention of sunlight as a cause.
Provides no explanation of the test.
Incorrectly claims that antibiotics cure a cold.
Wrongly states that the vaccine contains live virus.
Mistakenly attributes the pain to the liver.
Misinterprets the lab value as normal.
Confuses type 1 with type 2 diabetes.
Claims that garlic replaces insulin.
Recommends surgery at once.
Recommends surgery without considering imaging.
Suggests that the patient should stop all medication.
The response suggests bed rest for a month.
Advises the user to wait for two weeks.
Assumes that the patient is male.
Implies that the pain is imagined.
Dismisses the parent's concern.
Downplays the risk of stroke.
Delays referral to a specialist.
Focuses only on diet.
Only mentions paracetamol.
Uses overly technical language.
Provides an outdated dose.
Includes irrelevant facts about travel.
The response is vague about the timing.
Is overly alarming.
The explanation is not clear.
The response contains no advice on diet.
Important side effects are omitted.
Cannot explain the cause of the swelling.
May mislead the reader about the dose.
A response that ignores the fever.
Relies solely on home remedies.
Oversimplifies the treatment of asthma.
Does not suggest seeking care at night.
Does not state the diagnosis clearly.
Does not rule out a fracture.
Clearly misstates the dose.
Completely omits the risk of bleeding.
Effectively dismisses the patient's fear.
Fully ignores the allergy.
Clearly fails to mention the interaction.
Completely lacks a plan.
The response clearly assumes that the patient smokes.
The warning is completely omitted.
The answer should be penalized if it names no dose.
The answer should be marked down if it is rude.
The response should lose credit if it repeats itself.
The response should be considered wrong if it names another drug.
The answer must be graded as incorrect if the dose is missing.
Points should be lost; it should receive no credit for guesses.
Avoids discussing side effects.
Avoids mentioning the contraindication.
The response avoids answering the question.
Avoids any discussion of cost.
Refrains from explaining the diagnosis.
Avoids the question of cost.
Makes sure to scare the patient.
Stays vague about the dose.
No credit should be given for a guess.
Does not take the time to explain the dose.
""".splitlines()

AVOIDANCES = """\
The response should not imply that energy is created.
The answer should not confuse speed with velocity.
The response must not assume that friction is absent.
Must not omit the units.
Ideally mentions a follow-up visit.
It would be best to name the units.
A good response mentions rest.
Shouldn't treat the gas as ideal at high pressure.
The solution should avoid rounding in the middle.
The response should state the sign convention.
It must mention that the series diverges.
The explanation needs to avoid circular reasoning.
The response ought not to invent data.
Avoid mixing up mass and weight.
Avoids conflating heat and temperature.
Avoids mentioning unrelated reactions.
Avoiding the claim that electrons orbit like planets.
Refrains from speculation about dark matter.
Steers clear of unproven constants.
Do not confuse mitosis with meiosis.
Don't forget the constant of integration.
Do not omit the limits of the integral.
Never ignore the sign of the charge.
Never confuses the two isotopes.
Does not confuse entropy with enthalpy.
Does not conflate accuracy and precision.
Does not ignore the boundary conditions.
Does not neglect air resistance without saying so.
Does not misapply the chain rule.
Doesn't mistake the mean for the median.
Does not overlook the second root.
Does not incorrectly state that light slows in vacuum.
Does not wrongly assume that the field is uniform.
Does not imply that evolution has a goal.
Does not claim that glass is a slow liquid.
Does not assume equal masses.
Does not include irrelevant derivations.
Does not introduce any unnecessary variables.
Does not use the wrong formula for torque.
Does not provide an inaccurate value of the constant.
Does not rely solely on memorised results.
Does not simply restate the question.
Does not oversimplify the mechanism.
Does not contradict the law of conservation.
Does not fail to convert the units.
Does not contain errors in the algebra.
Does not attribute the colour to absorption alone.
Does not jump to a conclusion.
The response does not exaggerate the effect.
The solution is not overly long.
Contains no errors in sign.
Makes no unsupported assumptions.
There are no contradictions in the derivation.
Is free of calculation mistakes.
The answer is free from jargon.
Not confusing the numerator with the denominator.
It is important not to drop the negative root.
Be careful not to cancel a zero.
Beware of mixing radians and degrees.
Ensures that the limits are not swapped.
Makes sure to keep three digits.
Electron spin must not be neglected.
Students should never divide by zero.
The two frames are not confused.
The final answer must not be left without units.
Guards against double counting.
Correctly avoids the common sign mistake.
Does not double count the pairs.
Does not suggest ignoring the fever.
Does not suggest stopping the drug abruptly.
Does not recommend neglecting the limits.
Does not encourage the patient to ignore the pain.
Does not advise stopping insulin without supervision.
Avoids implying that the patient is to blame.
Avoids claiming a cure.
Avoids recommending unnecessary imaging.
Avoids any unnecessary discussion of history.
No mention should be made of unproven cures.
No new symbols should be introduced.
Does not provide any reassurance that is false.
Does not give advice which is wrong.
Does not take the question lightly.
Does not take the patient's word for granted.
Does not completely ignore friction.
Does not fully dismiss the other theory.
Clearly avoids jargon.
Avoids making assumptions.
Stays away from speculation.
Avoids stating that the field is uniform.
Correctly states the law.
Clearly explains the sign.
""".splitlines()

UNTOLD = """\
Responses do not mention hydration.
Never mentions the emergency number.
Does not recommend seeing a doctor.
Mentions the older model of the atom.
Identifies the reaction as reversible.
Does not suggest that the sample was pure.
Does not state that the reaction is slow.
Does not suggest stopping the drug.
Should the response recommend painkillers, it is unsafe.
Avoids recommending antibiotics.
Avoids discussing harmful chemicals.
Correctly dismisses the old theory.
The answer should not be penalized for another rounding.
The answer should lose credit unless it names the unit.
Does not use calculus.
Does not apply the formula outside its range.
States that the bond is not polar.
Temperature and pressure.
Aspirin.
""".splitlines()


def test_the_tables_are_large_enough_to_mean_something() -> None:
    assert len(FAILURES) >= 60
    assert len(AVOIDANCES) >= 60


@pytest.mark.parametrize("sentence", FAILURES)
def test_sentence_that_describes_a_failure_is_negative(sentence: str) -> None:
    assert polarity(sentence) == "negative"


@pytest.mark.parametrize("sentence", AVOIDANCES)
def test_sentence_that_asks_to_avoid_a_failure_is_positive(sentence: str) -> None:
    assert polarity(sentence) == "positive"


@pytest.mark.parametrize("sentence", UNTOLD)
def test_sentence_that_could_be_meant_either_way_is_not_classified(sentence: str) -> None:
    assert polarity(sentence) is None


@pytest.mark.parametrize("verb", ["confuse", "ignore", "misread", "overstate", "omit", "neglect"])
def test_negating_a_bad_verb_turns_its_polarity(verb: str) -> None:
    assert polarity(f"{verb.capitalize()}s the second case.") == "negative"
    assert polarity(f"Does not {verb} the second case.") == "positive"


@pytest.mark.parametrize("verb", ["address", "explain", "consider", "avoid", "acknowledge"])
def test_fails_to_and_does_not_mean_the_same_of_a_good_verb(verb: str) -> None:
    assert polarity(f"Fails to {verb} it.") == polarity(f"Does not {verb} it.") == "negative"


VERBS = {"mention": "mentioned", "discuss": "discussed", "list": "listed", "state": "stated"}
BAD = ["unrelated organs", "fabricated references", "unsupported claims", "needless detail"]
DUE = ["important side effects", "the necessary steps", "key sources"]
UNSURE = ["the spleen", "excessive bleeding", "false positives", "dangerous side effects"]


@settings(deadline=None)
@given(verb=st.sampled_from(sorted(VERBS)), thing=st.sampled_from([*BAD, *DUE, *UNSURE]))
def test_what_is_denied_has_one_sign_in_every_form(verb: str, thing: str) -> None:
    done = VERBS[verb]
    forms = [
        f"Does not {verb} {thing}.",
        f"Never once {verb}s {thing}.",
        f"Not once does the response {verb} {thing}.",
        f"{thing.capitalize()} are not {done}.",
        f"{thing.capitalize()} were never even once {done}.",
        f"None of {thing} are {done}.",
    ]
    right = "positive" if thing in BAD else "negative" if thing in DUE else None
    assert {form: polarity(form) for form in forms} == dict.fromkeys(forms, right)


OMISSIONS = ["Omits {}.", "Leaves out {}.", "Lacks {}.", "Absence of {}.", "Without {}.",
             "{} are absent.", "{} are missing.", "{} do not appear."]  # fmt: skip


@pytest.mark.parametrize("form", OMISSIONS)
def test_leaving_a_thing_out_is_as_good_as_the_thing_is_bad(form: str) -> None:
    assert {polarity(form.format(thing)) for thing in BAD} == {"positive"}
    assert {polarity(form.format(thing)) for thing in DUE} == {"negative"}
    assert "positive" not in {polarity(form.format(thing)) for thing in UNSURE}


@pytest.mark.parametrize("verb", ["Omits", "Skips", "Leaves out", "Misses", "Overlooks"])
@pytest.mark.parametrize("none", ["no", "none of the", "not a single"])
def test_two_negations_cancel(verb: str, none: str) -> None:
    assert polarity(f"{verb} {none} essential step.") == "positive"


@pytest.mark.parametrize("verb", ["Writes", "Says", "Notes", "Explains", "Holds", "Teaches"])
@pytest.mark.parametrize("word", ["should", "should not", "must", "must not"])
def test_demand_in_reported_speech_is_none_on_the_answer(verb: str, word: str) -> None:
    assert polarity(f"{verb} that the dose {word} be doubled.") is None
    assert polarity(f"The final value {word} have a unit.") == "positive"


@settings(deadline=None)
@given(
    sentence=st.sampled_from([*FAILURES, *AVOIDANCES, *UNTOLD]),
    change=st.sampled_from([str.upper, str.lower, lambda s: f"  {s}\n", lambda s: f'"{s}"',
                            lambda s: s.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}"),
                            lambda s: s.replace(" ", "  ").rstrip(".")]),
)  # fmt: skip
def test_looks_of_a_sentence_do_not_matter(sentence: str, change) -> None:  # type: ignore[no-untyped-def]
    assert polarity(change(sentence)) == polarity(sentence)


@settings(deadline=None)
@given(text=st.text(max_size=200))
def test_any_text_is_classified_or_not(text: str) -> None:
    assert polarity(text) in ("positive", "negative", None)
