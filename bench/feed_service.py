"""The feed service with one more address, /bare: an indexed select through the very same pool."""

from fastapi import Request, Response

from plugins.feed_api.service import create_app

BARE = (
    "select post_ids[1:5] from result.feed_recommendation"
    " where as_of = '2026-03-01' and user_id = $1 and day_part = 12"
)
app = create_app()


@app.get("/bare")
async def bare(request: Request, id: int) -> Response:
    """Return the first posts of a user's list as the table has them."""
    found = await request.app.state.feed.pool.fetchval(BARE, id)
    return Response(str(found), media_type="text/plain")
