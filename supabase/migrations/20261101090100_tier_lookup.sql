-- How the front door asks for a user's tier. A query of the table would answer a wrong key with an empty list, which is
-- also what a user without a subscription looks like; a function that a wrong key may not call answers it with an error.

create function public.tier_of_user(subject uuid) returns jsonb
    language sql stable security definer set search_path = ''
as $$
    select jsonb_build_object(
        'tier', coalesce(tabario.entitled_tier(subscription.tier, subscription.status), 'standard'),
        'changed_at', subscription.tier_changed_at
    )
    from (select subject as user_id) as asked
    left join public.subscriptions as subscription using (user_id);
$$;

comment on function public.tier_of_user is
    'The tier that a user is entitled to, and when it last changed: null for a user without a subscription.';

-- A new function in this schema is granted to everybody by default.
revoke execute on function public.tier_of_user from public, anon, authenticated;
grant execute on function public.tier_of_user to service_role;
